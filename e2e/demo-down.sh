#!/usr/bin/env bash
# Removes what the demo made. The cluster of our own goes as a whole; from a cluster of yours only Dayfly goes.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=e2e/cluster/env.sh
. e2e/cluster/env.sh
if [ -z "${KUBECONFIG_DAYFLY:-}" ]; then
  exec e2e/cluster/down.sh
fi
# AgentPools first, while the operator that releases their finalizers is there. Where it is not, they are released here:
# what they registered stays in the service, which goes too.
if ! kubectl delete agentpools --all --all-namespaces --timeout=120s --ignore-not-found; then
  echo "the operator did not release every AgentPool in time; releasing them without it" >&2
  kubectl get agentpools --all-namespaces --no-headers -o custom-columns=NS:.metadata.namespace,NAME:.metadata.name |
    while read -r namespace name; do
      kubectl -n "$namespace" patch agentpool "$name" --type=merge -p '{"metadata":{"finalizers":null}}'
    done
fi
helm uninstall dayfly --namespace dayfly-system --ignore-not-found
helm uninstall dayfly-pool --namespace dayfly-pool --ignore-not-found
kubectl delete namespace ci dayfly-system dayfly-pool dayfly-identities --ignore-not-found
kubectl delete crd agentpools.dayfly.dev poolconnections.dayfly.dev --ignore-not-found
