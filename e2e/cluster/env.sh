# shellcheck shell=bash
# Sourced, never run: the paths of the test cluster, and a PATH and KUBECONFIG
# with which plain `kubectl` and `helm` reach it.

DAYFLY_CLUSTER_DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
DAYFLY_ROOT="$(cd "$DAYFLY_CLUSTER_DIR/../.." && pwd)"

# What is built lives outside the tree: it outlives `git clean` and is shared
# by all clones on the machine.
export DAYFLY_CACHE="${DAYFLY_CACHE:-${HOME:-/root}/.cache/dayfly}"
DAYFLY_CLUSTER_CACHE="$DAYFLY_CACHE/cluster"
DAYFLY_BIN="$DAYFLY_CLUSTER_CACHE/bin"
DAYFLY_CNI_BIN="$DAYFLY_CLUSTER_CACHE/cni"

# Everything that a running cluster writes; `down.sh` deletes it.
DAYFLY_STATE="$(realpath -m "${DAYFLY_STATE:-/var/lib/dayfly-cluster}")"
export DAYFLY_STATE
DAYFLY_CONTAINERD_SOCKET="$DAYFLY_STATE/run/containerd.sock"

# One for the machine, since the addresses allow one cluster at a time; outside of
# the state, so that nobody waits for a lock that has been deleted.
DAYFLY_LOCK=/run/lock/dayfly-cluster.lock

# The addresses are fixed: certificates, configuration and tests agree on them.
DAYFLY_NODE_NAME=node1
DAYFLY_NODE_IP=10.244.0.1
DAYFLY_POD_CIDR=10.244.0.0/24
DAYFLY_SERVICE_CIDR=10.96.0.0/16
DAYFLY_DNS_IP=10.96.0.10
DAYFLY_API_PORT=6443
DAYFLY_BRIDGE=cni0

DAYFLY_TAG="${DAYFLY_TAG:-dev}"

# An existing cluster takes the place of the one built here. The images are
# $DAYFLY_IMAGES/{operator,agent,pool}:$DAYFLY_TAG in either.
if [ -n "${KUBECONFIG_DAYFLY:-}" ]; then
  export KUBECONFIG="$KUBECONFIG_DAYFLY"
  DAYFLY_IMAGES="${DAYFLY_IMAGE_REGISTRY:-}"
else
  export KUBECONFIG="$DAYFLY_STATE/admin.kubeconfig"
  DAYFLY_IMAGES=localhost/dayfly
fi

case ":$PATH:" in
  *":$DAYFLY_BIN:"*) ;;
  *) export PATH="$DAYFLY_BIN:$PATH" ;;
esac

export DAYFLY_CLUSTER_DIR DAYFLY_ROOT DAYFLY_CLUSTER_CACHE DAYFLY_BIN DAYFLY_CNI_BIN \
  DAYFLY_CONTAINERD_SOCKET DAYFLY_NODE_NAME DAYFLY_NODE_IP DAYFLY_POD_CIDR \
  DAYFLY_LOCK DAYFLY_SERVICE_CIDR DAYFLY_DNS_IP DAYFLY_API_PORT DAYFLY_BRIDGE DAYFLY_IMAGES DAYFLY_TAG
