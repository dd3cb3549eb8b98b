#!/usr/bin/env bash
# Brings the test cluster up, or finds that it is: every step leaves alone what is
# already there. Prints the path of the administrator's kubeconfig last.
#
#   up.sh [--state DIR]
set -euo pipefail
. "$(dirname "$0")/lib/options.sh"
. "$(dirname "$0")/env.sh"
. "$DAYFLY_CLUSTER_DIR/lib/common.sh"
. "$DAYFLY_CLUSTER_DIR/lib/buildah.sh"
. "$DAYFLY_CLUSTER_DIR/lib/baseimage.sh"
. "$DAYFLY_CLUSTER_DIR/lib/render.sh"
. "$DAYFLY_CLUSTER_DIR/lib/process.sh"
. "$DAYFLY_CLUSTER_DIR/lib/pki.sh"
. "$DAYFLY_CLUSTER_DIR/lib/network.sh"
. "$DAYFLY_CLUSTER_DIR/lib/control-plane.sh"
. "$DAYFLY_CLUSTER_DIR/lib/node.sh"

DAEMONS=(etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet kube-proxy coredns)

if [ -n "${KUBECONFIG_DAYFLY:-}" ]; then
  command -v kubectl >/dev/null || die "no kubectl: run e2e/cluster/build.sh first"
  kubectl get --raw /readyz --request-timeout=10s >/dev/null ||
    die "the cluster that KUBECONFIG_DAYFLY=$KUBECONFIG_DAYFLY names does not answer"
  log "using the existing cluster of $KUBECONFIG_DAYFLY"
  echo "$KUBECONFIG_DAYFLY"
  exit 0
fi

healthy() {
  local d
  for d in "${DAEMONS[@]}"; do running_pid "$d" || return 1; done
  api_ready && node_ready && dns_ready && service_reachable
} >/dev/null 2>&1

need_root up.sh
for program in etcd kube-apiserver kubelet kube-proxy coredns kubectl; do
  [ -x "$DAYFLY_BIN/$program" ] || die "$DAYFLY_BIN/$program is missing: run e2e/cluster/build.sh first"
done
take_lock "$DAYFLY_LOCK" "e2e/cluster/up.sh or down.sh"

if healthy; then
  log "already up"
  echo "$DAYFLY_STATE/admin.kubeconfig"
  exit 0
fi

log "bringing the cluster up (state in $DAYFLY_STATE)"
started=$SECONDS
mkdir -p "$DAYFLY_STATE"
ensure_network
ensure_pki

start_etcd
start_apiserver
start_containerd
wait_until 30 containerd "containerd to answer on $DAYFLY_CONTAINERD_SOCKET" ctr_cluster version
load_pause_image
wait_until 60 kube-apiserver "the API server to be ready" api_ready

start_controllers
start_node
start_dns
wait_until 60 kubelet "node $DAYFLY_NODE_NAME to be Ready and without taints" node_ready
wait_until 30 coredns "CoreDNS to have read its Services" dns_ready
wait_until 30 kube-proxy "the Service address 10.96.0.1 to answer" service_reachable
wait_until 30 kube-controller-manager "the default ServiceAccount to exist" default_account_ready

log "up in $((SECONDS - started)) s; logs in $DAYFLY_STATE/logs, audit log in $DAYFLY_STATE/audit.log"
echo "$DAYFLY_STATE/admin.kubeconfig"
