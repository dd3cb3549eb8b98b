# shellcheck shell=bash
# Debian packages: installs those that are missing, and asks the registry only
# when there are any.

# shellcheck disable=SC2034 # used by build.sh
# gcc and libc6-dev compile the pause container; socat and conntrack serve the
# kubelet and kube-proxy; the rest runs containers or builds images.
CLUSTER_PACKAGES=(
  buildah busybox-static ca-certificates conntrack containerd curl diffutils ethtool gcc
  iproute2 iptables jq kmod libc6-dev mmdebstrap mount openssl procps runc skopeo socat
)

install_packages() { # package...
  local missing=() p
  for p in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing+=("$p")
  done
  [ "${#missing[@]}" -gt 0 ] || return 0
  log "installing Debian packages: ${missing[*]}"
  local out
  export DEBIAN_FRONTEND=noninteractive
  out="$(mktemp)"
  if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } \
    </dev/null >"$out" 2>&1 9>&-; then
    tail -n 30 "$out" >&2
    rm -f "$out"
    die "apt-get could not install ${missing[*]}"
  fi
  rm -f "$out"
}
