# shellcheck shell=bash
# Builds the targets of the Dockerfile with buildah.

image_name() { echo "localhost/dayfly/$1:$DAYFLY_TAG"; }

# All that decides what an image holds.
image_inputs() { # directory of binaries, target
  { cat "$1/out/dayfly-$2" "$DAYFLY_ROOT/Dockerfile" && base_key; } | sha256sum | cut -d' ' -f1
}

# The base goes into buildah's storage under the name that the Dockerfile uses.
ensure_base_image() {
  local have container
  have="$(run_buildah inspect --type image --format '{{index .OCIv1.Config.Labels "dev.dayfly.base"}}' \
    "$BASE_IMAGE" 2>/dev/null || true)"
  [ "$have" != "$(base_key)" ] || return 0
  log "importing the base image"
  container="$(run_buildah from scratch)"
  run_buildah add -q "$container" "$(base_tar)" / >/dev/null
  run_buildah config --cmd bash --label "dev.dayfly.base=$(base_key)" "$container"
  run_buildah commit -q --rm "$container" "$BASE_IMAGE" >/dev/null
}

image_id() { run_buildah images -q --no-trunc "$1" 2>/dev/null || true; }

build_image() { # directory of binaries, target
  local name old output
  name="$(image_name "$2")"
  old="$(image_id "$name")"
  output="$(mktemp)"
  # --layers: the steps before the binary are done once. chroot: no other
  # isolation works without privileges that a sandboxed machine lacks.
  if ! run_buildah bud -q --layers --isolation chroot --pull-never \
    --build-context "build=$1" --target "$2" -t "$name" \
    -f "$DAYFLY_ROOT/Dockerfile" "$DAYFLY_EMPTY_CONTEXT" >"$output" 2>&1; then
    tail -n 30 "$output" >&2
    rm -f "$output"
    die "buildah could not build target $2 of the Dockerfile"
  fi
  rm -f "$output"
  # What it replaces would fill the disk, one binary after the other.
  if [ -n "$old" ] && [ "$old" != "$(image_id "$name")" ]; then
    run_buildah rmi "$old" >/dev/null 2>&1 || true
  fi
}
