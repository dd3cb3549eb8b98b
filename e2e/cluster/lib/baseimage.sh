# shellcheck shell=bash
# The two images that no registry serves here: pause, and the Debian base.

PAUSE_IMAGE=localhost/dayfly/pause:1
# shellcheck disable=SC2034 # used by images.sh
# The name that the Dockerfile's FROM resolves to.
BASE_IMAGE=docker.io/library/debian:bookworm-slim

# What the images of the Dockerfile need is already in the base, so that its
# RUN steps find nothing to install and need no network.
BASE_PACKAGES=(bash ca-certificates coreutils curl git git-lfs)

base_key() {
  { printf '%s\n' bookworm "${BASE_PACKAGES[@]}" && declare -f build_base_tar; } | sha256_of_stdin
}
base_tar() { echo "$DAYFLY_CLUSTER_CACHE/base-$(base_key).tar"; }
pause_tar() {
  local key
  key="$(sha256_of_stdin <"$DAYFLY_CLUSTER_DIR/images/pause.c")"
  echo "$DAYFLY_CLUSTER_CACHE/pause-$key.tar"
}

build_base_image() {
  local tar start=$SECONDS
  tar="$(base_tar)"
  [ -e "$tar" ] && return 0
  log "building the Debian base image (about half a minute, first time only)"
  build_base_tar "$tar.part"
  mv "$tar.part" "$tar"
  log "built the Debian base image in $((SECONDS - start)) s"
}

# Documentation and translations are left out, as in Debian's own slim image:
# a small base is a quick build.
build_base_tar() { # file
  local include
  include="$(IFS=, && echo "${BASE_PACKAGES[*]}")"
  mmdebstrap --quiet --variant=minbase --include="$include" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --aptopt='APT::Install-Recommends "false"' --format=tar bookworm "$1" </dev/null >&2 9>&-
}

build_pause_image() {
  local tar work container
  tar="$(pause_tar)"
  [ -e "$tar" ] && return 0
  work="$(mktemp -d)"
  gcc -static -Os -s -o "$work/pause" "$DAYFLY_CLUSTER_DIR/images/pause.c"
  container="$(run_buildah from scratch)"
  run_buildah copy -q "$container" "$work/pause" /pause >/dev/null
  run_buildah config --entrypoint '["/pause"]' --user 65535:65535 "$container"
  run_buildah commit -q --rm "$container" "$PAUSE_IMAGE" >/dev/null
  copy_to_layout "$PAUSE_IMAGE" "$work/layout"
  tar -C "$work/layout" -cf "$work/pause.tar" .
  mv "$work/pause.tar" "$tar"
  rm -rf "$work"
  release_storage
  log "built the pause image"
}
