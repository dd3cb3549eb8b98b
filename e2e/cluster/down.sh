#!/usr/bin/env bash
# Takes the test cluster down and removes what it made: processes, containers,
# mounts, the bridge, iptables rules and the state. The cache of built programs
# stays. Running it twice is fine.
#
#   down.sh [--state DIR]
set -euo pipefail
. "$(dirname "$0")/lib/options.sh"
. "$(dirname "$0")/env.sh"
. "$DAYFLY_CLUSTER_DIR/lib/common.sh"
. "$DAYFLY_CLUSTER_DIR/lib/process.sh"
. "$DAYFLY_CLUSTER_DIR/lib/network.sh"
. "$DAYFLY_CLUSTER_DIR/lib/teardown.sh"

if [ -n "${KUBECONFIG_DAYFLY:-}" ]; then
  log "the cluster of KUBECONFIG_DAYFLY is not ours: leaving it alone"
  exit 0
fi
need_root down.sh
take_lock "$DAYFLY_LOCK" "e2e/cluster/up.sh or down.sh"
if [ ! -d "$DAYFLY_STATE" ]; then
  log "nothing to take down ($DAYFLY_STATE does not exist)"
  exit 0
fi
[ -d "$DAYFLY_STATE/pids" ] || [ -z "$(ls -A "$DAYFLY_STATE")" ] ||
  die "$DAYFLY_STATE does not look like the state of a cluster: not deleting it"

# The kubelet first: it would start again what is killed below.
for daemon in kubelet kube-proxy coredns kube-scheduler kube-controller-manager; do
  stop_daemon "$daemon" 10
done
kill_containers
stop_daemon containerd 10
# The API server drains its connections for up to a minute when asked politely.
stop_daemon kube-apiserver 3
stop_daemon etcd 5

unmount_state
remove_cgroups
remove_log_links
[ ! -x "$DAYFLY_BIN/kube-proxy" ] || "$DAYFLY_BIN/kube-proxy" --cleanup >/dev/null 2>&1 9>&- || true
remove_network
remove_state
log "down"
