# shellcheck shell=bash
# Moves images from buildah's storage to where the cluster finds them.

IMAGE_LAYOUT="$DAYFLY_BUILDAH/layout"

export_image() { # name
  mkdir -p "$IMAGE_LAYOUT"
  copy_to_layout "$1" "$IMAGE_LAYOUT"
}

# One import for all. Layers that containerd has already are left out of the
# stream, which leaves the binaries.
load_images() { # name...
  prune_layout
  local exclude
  exclude="$(mktemp)"
  ctr_cluster content ls -q | sed -n 's|^sha256:|./blobs/sha256/|p' >"$exclude"
  tar -C "$IMAGE_LAYOUT" --exclude-from="$exclude" -cf - . | ctr_cluster images import - >/dev/null ||
    die "containerd could not import $*"
  rm -f "$exclude"
}

# Deletes the blobs that no image of the layout uses any more.
prune_layout() {
  local blobs="$IMAGE_LAYOUT/blobs/sha256" used manifest b
  used="$(
    for manifest in $(jq -r '.manifests[].digest' "$IMAGE_LAYOUT/index.json"); do
      echo "${manifest#sha256:}"
      jq -r '.config.digest, .layers[].digest | ltrimstr("sha256:")' "$blobs/${manifest#sha256:}"
    done
  )"
  for b in "$blobs"/*; do
    grep -qxF "${b##*/}" <<<"$used" || rm -f "$b"
  done
}

push_to_registry() { # target
  local name
  name="${DAYFLY_IMAGE_REGISTRY%/}/$1:$DAYFLY_TAG"
  # DAYFLY_IMAGE_REGISTRY_TLS=false: a registry of a test machine, without certificate.
  run_buildah push -q --tls-verify="${DAYFLY_IMAGE_REGISTRY_TLS:-true}" "$(image_name "$1")" "docker://$name" >/dev/null || die "could not push $name"
  log "pushed $name"
}
