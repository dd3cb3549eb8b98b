#!/usr/bin/env bash
# Builds the images of the Dockerfile from ready binaries and loads them into the
# cluster: localhost/dayfly/{operator,agent,pool}:dev (tag: DAYFLY_TAG), and the
# base as docker.io/library/debian:bookworm-slim, for pods that want another image.
# What has not changed and is loaded is left alone.
#
#   images.sh DIR     DIR holds out/dayfly-operator, out/dayfly-agent, out/dayfly-pool
#
# For an existing cluster (KUBECONFIG_DAYFLY) they go to DAYFLY_IMAGE_REGISTRY.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$DAYFLY_CLUSTER_DIR/lib/common.sh"
. "$DAYFLY_CLUSTER_DIR/lib/packages.sh"
. "$DAYFLY_CLUSTER_DIR/lib/buildah.sh"
. "$DAYFLY_CLUSTER_DIR/lib/baseimage.sh"
. "$DAYFLY_CLUSTER_DIR/lib/imagebuild.sh"
. "$DAYFLY_CLUSTER_DIR/lib/imageload.sh"
. "$DAYFLY_CLUSTER_DIR/lib/node.sh"

[ $# = 1 ] || die "usage: images.sh DIR, where DIR holds out/dayfly-operator, out/dayfly-agent, out/dayfly-pool"
dir="$(cd "$1" && pwd)"
targets=(operator agent pool)
for t in "${targets[@]}"; do
  [ -f "$dir/out/dayfly-$t" ] || die "$dir/out/dayfly-$t is missing: build the binaries first"
done

if [ -n "${KUBECONFIG_DAYFLY:-}" ] && [ -z "${DAYFLY_IMAGE_REGISTRY:-}" ]; then
  die "an existing cluster (KUBECONFIG_DAYFLY) pulls its images from a registry:
  set DAYFLY_IMAGE_REGISTRY to one that you can push to and the cluster can pull from,
  for example DAYFLY_IMAGE_REGISTRY=registry.example.com/dayfly"
fi
need_root images.sh
take_lock "$DAYFLY_CLUSTER_CACHE/.images.lock" e2e/cluster/images.sh

# The context is empty: all that goes into an image is in DIR.
DAYFLY_EMPTY_CONTEXT="$(mktemp -d)"
trap 'rm -rf "$DAYFLY_EMPTY_CONTEXT"; release_storage' EXIT
started=$SECONDS

if [ -n "${KUBECONFIG_DAYFLY:-}" ]; then
  install_packages buildah ca-certificates jq mmdebstrap mount skopeo
  build_base_image
  ensure_base_image
  for t in "${targets[@]}"; do
    build_image "$dir" "$t"
    push_to_registry "$t"
  done
  log "images pushed in $((SECONDS - started)) s"
  exit 0
fi

# A stamp in the state directory says what is loaded: it goes when the cluster goes.
stamps="$DAYFLY_STATE/images"
ctr_cluster version >/dev/null 2>&1 || die "the cluster is not up: run e2e/cluster/up.sh first"
mkdir -p "$stamps"
stamp_of() { echo "$stamps/$1-$DAYFLY_TAG"; }
is_current() { # target or "base", name, inputs
  [ "$(cat "$(stamp_of "$1")" 2>/dev/null)" = "$3" ] && image_loaded "$2"
}

load=()
build_base_image
if ! is_current base "$BASE_IMAGE" "$(base_key)"; then
  ensure_base_image
  export_image "$BASE_IMAGE"
  load+=("$BASE_IMAGE")
fi
for t in "${targets[@]}"; do
  if is_current "$t" "$(image_name "$t")" "$(image_inputs "$dir" "$t")"; then continue; fi
  ensure_base_image
  log "building $(image_name "$t")"
  build_image "$dir" "$t"
  export_image "$(image_name "$t")"
  load+=("$(image_name "$t")")
done

if [ "${#load[@]}" = 0 ]; then
  log "the images are up to date"
  exit 0
fi
load_images "${load[@]}"
base_key >"$(stamp_of base)"
for t in "${targets[@]}"; do image_inputs "$dir" "$t" >"$(stamp_of "$t")"; done
log "loaded ${load[*]} in $((SECONDS - started)) s"
