# shellcheck shell=bash
# Messages, root and locking: what every script of this directory shares.

log() { printf 'cluster: %s\n' "$*" >&2; }
die() {
  printf 'cluster: error: %s\n' "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || die "$1 needs root (it installs packages, mounts and changes the network)"
}

# Several test suites may start at once; the second one waits for the first.
# The descriptor is 9 in every script, so that children can be started without it
# (a daemon that inherited it would hold the lock for as long as it runs).
take_lock() { # file, what it guards
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  if ! flock -n 9; then
    log "waiting for another run of $2 (lock $1)"
    flock -w 1800 9 || die "waited 30 minutes for another run of $2 (lock $1)"
  fi
}

sha256_of_stdin() { sha256sum | cut -c1-16; }
