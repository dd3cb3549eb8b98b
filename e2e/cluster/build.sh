#!/usr/bin/env bash
# Builds every program of the test cluster from package registries, into a cache
# outside the tree. With everything built it returns in about a second.
# Prints the directory of the programs last.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$DAYFLY_CLUSTER_DIR/lib/common.sh"
. "$DAYFLY_CLUSTER_DIR/lib/packages.sh"
. "$DAYFLY_CLUSTER_DIR/lib/gobuild.sh"
. "$DAYFLY_CLUSTER_DIR/lib/buildah.sh"
. "$DAYFLY_CLUSTER_DIR/lib/baseimage.sh"

command -v go >/dev/null || die "Go is needed to build the cluster: install Go 1.26 or newer"
take_lock "$DAYFLY_CLUSTER_CACHE/.build.lock" e2e/cluster/build.sh

# An existing cluster brings all but the clients (and images need a builder).
if [ -n "${KUBECONFIG_DAYFLY:-}" ]; then
  if ! command -v jq >/dev/null; then
    need_root build.sh
    install_packages jq
  fi
  if ! command -v kubectl >/dev/null; then
    build_group kubectl "about 3 minutes on two cores" k8s.io/kubernetes/cmd/kubectl
    link_binaries "$GROUP_DIR" "$DAYFLY_BIN" kubectl
  fi
  if ! command -v helm >/dev/null; then
    build_group helm "about 2 minutes on two cores"
    link_binaries "$GROUP_DIR" "$DAYFLY_BIN" helm
  fi
  echo "$DAYFLY_BIN"
  exit 0
fi

need_root build.sh
install_packages "${CLUSTER_PACKAGES[@]}"

build_group kubernetes "about 6 minutes on two cores"
link_binaries "$GROUP_DIR" "$DAYFLY_BIN" \
  kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl
build_group etcd "about half a minute on two cores"
link_binaries "$GROUP_DIR" "$DAYFLY_BIN" etcd
link_binaries "$GROUP_DIR" "$DAYFLY_CNI_BIN" bridge host-local loopback portmap
build_group coredns "about 2 minutes on two cores"
link_binaries "$GROUP_DIR" "$DAYFLY_BIN" coredns
build_group helm "about 2 minutes on two cores"
link_binaries "$GROUP_DIR" "$DAYFLY_BIN" helm

build_pause_image
build_base_image
echo "$DAYFLY_BIN"
