# shellcheck shell=bash
# buildah with its storage in the cache: nothing of the machine's own container
# storage or configuration is read or written.

DAYFLY_BUILDAH="$DAYFLY_CLUSTER_CACHE/buildah"

# Overlay needs no copy of the whole base per step; vfs works everywhere. The
# storages of the two are kept apart, since one root serves one driver only.
storage_driver() {
  if [ -z "${DAYFLY_STORAGE_DRIVER:-}" ]; then
    if overlay_works; then DAYFLY_STORAGE_DRIVER=overlay; else DAYFLY_STORAGE_DRIVER=vfs; fi
  fi
  export DAYFLY_STORAGE_DRIVER
}

overlay_works() {
  local d ok=1
  mkdir -p "$DAYFLY_BUILDAH"
  d="$(mktemp -d "$DAYFLY_BUILDAH/probe.XXXXXX")"
  mkdir "$d/l" "$d/u" "$d/w" "$d/m"
  if mount -t overlay overlay -o "lowerdir=$d/l,upperdir=$d/u,workdir=$d/w" "$d/m" 2>/dev/null; then
    umount "$d/m"
    ok=0
  fi
  rm -rf "$d"
  return "$ok"
}

run_buildah() { with_own_storage buildah "$@"; }

with_own_storage() { # command...
  storage_driver
  local d="$DAYFLY_BUILDAH/$DAYFLY_STORAGE_DRIVER"
  mkdir -p "$d"
  [ -e "$d/registries.conf" ] || echo 'unqualified-search-registries = ["docker.io"]' >"$d/registries.conf"
  [ -e "$d/storage.conf" ] || cat >"$d/storage.conf" <<EOF
[storage]
driver = "$DAYFLY_STORAGE_DRIVER"
graphroot = "$d/root"
runroot = "$d/run"
EOF
  CONTAINERS_REGISTRIES_CONF="$d/registries.conf" CONTAINERS_STORAGE_CONF="$d/storage.conf" "$@" 9>&-
}

# The overlay driver leaves its storage mounted on itself.
release_storage() {
  local m="$DAYFLY_BUILDAH/overlay/root/overlay"
  ! grep -qF " $m " /proc/self/mounts || umount "$m" 2>/dev/null || true
}

# The image as an OCI layout (one that has its other layers already keeps them).
# Uncompressed, which takes skopeo: to compress a base image takes longer than
# all the rest, and `buildah push` insists on it.
copy_to_layout() { # image, layout directory
  with_own_storage skopeo --insecure-policy copy -q --dest-oci-accept-uncompressed-layers \
    "containers-storage:$1" "oci:$2:$1" >/dev/null
}
