#!/usr/bin/env bash
# Installs the libraries of other people that tests use, outside the tree: the clients that drive the pool service, and
# what tasks are written with. crates/pool/tests/clients/ and agent-image/tests/tasks/ pin the versions. Python, Node and
# git-lfs are installed from Debian's packages if they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
pins="$PWD/crates/pool/tests/clients"
task_pins="$PWD/agent-image/tests/tasks"
into="${DAYFLY_CACHE:-$HOME/.cache/dayfly}/clients"

log() { echo "clients: $*"; }

die() {
  echo "clients: $*" >&2
  exit 1
}

install_debian_packages() {
  local missing=() out
  command -v python3 >/dev/null || missing+=(python3)
  python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  command -v git-lfs >/dev/null || missing+=(git-lfs)
  [ "${#missing[@]}" -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "install ${missing[*]}, or run this as root"
  log "installing Debian packages: ${missing[*]}"
  out="$(mktemp)"
  export DEBIAN_FRONTEND=noninteractive
  if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } </dev/null >"$out" 2>&1; then
    tail -n 30 "$out" >&2
    rm -f "$out"
    die "apt-get could not install ${missing[*]}"
  fi
  rm -f "$out"
}

# Installs into a directory of its own and puts it in place when it is whole.
install_into() { # name pins command...
  local name="$1" wanted fresh="$into/$1.new"
  wanted="$(sha256sum <"$2" | cut -c1-64)"
  shift 2
  [ "$(cat "$into/$name/installed" 2>/dev/null)" != "$wanted" ] || return 0
  log "installing $name packages"
  rm -rf "$fresh"
  mkdir -p "$fresh"
  "$@" "$fresh"
  echo "$wanted" >"$fresh/installed"
  rm -rf "${into:?}/$name"
  mv "$fresh" "$into/$name"
}

python_packages() {
  python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-compile \
    --root-user-action=ignore --requirement "$pins/requirements.txt" --target "$1"
}

node_packages() { # pins into
  cp "$1/package.json" "$1/package-lock.json" "$2"
  npm ci --prefix "$2" --silent --ignore-scripts --no-audit --no-fund
}

install_debian_packages
mkdir -p "$into"
install_into python "$pins/requirements.txt" python_packages
install_into node "$pins/package-lock.json" node_packages "$pins"
install_into tasks "$task_pins/package-lock.json" node_packages "$task_pins"
log "$into"
