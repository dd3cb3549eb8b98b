#!/usr/bin/env bash
# Lints and renders both charts in every mode under ci/, and checks what must hold in each. Needs helm, no cluster.
set -euo pipefail
cd "$(dirname "$0")"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0

fail() {
  echo "charts: $*" >&2
  failed=1
}

# Whether a rendering has a line that matches.
has() { grep -qE -- "$2" "$out/$1.yaml" || fail "$1: expected $2"; }
lacks() { ! grep -qE -- "$2" "$out/$1.yaml" || fail "$1: did not expect $2"; }

render() { helm template "$1" "$1" --namespace dayfly-system --api-versions dayfly.dev/v1alpha1 "${@:2}"; }

# The named document of a rendering: kind and name.
document() {
  awk -v kind="kind: $2" -v name="  name: $3" 'BEGIN { RS = "---\n" }
    index("\n" $0, "\n" kind "\n") && index($0, "\n" name "\n") { print }' "$out/$1.yaml"
}

refused() {
  local chart=$1 why=$2
  shift 2
  if render "$chart" "$@" >"$out/refused" 2>&1; then
    fail "$chart: accepted $*"
  elif ! grep -q -- "$why" "$out/refused"; then
    fail "$chart: refused $* but did not say '$why': $(head -c 300 "$out/refused")"
  fi
}

for chart in dayfly dayfly-pool; do
  for values in "$chart"/ci/*-values.yaml; do
    mode=$chart-$(basename "$values" -values.yaml)
    helm lint --strict --quiet "$chart" --values "$values" >"$out/lint" 2>&1 || fail "$(cat "$out/lint")"
    render "$chart" --values "$values" >"$out/$mode.yaml" || fail "$mode does not render"
    render "$chart" --values "$values" | cmp -s - "$out/$mode.yaml" || fail "$mode renders differently each time"
    for line in 'enableServiceLinks: false' 'runAsNonRoot: true' 'runAsUser: 10001' 'type: RuntimeDefault' \
      'allowPrivilegeEscalation: false' 'readOnlyRootFilesystem: true' '- ALL'; do
      has "$mode" "$line"
    done
    # An installation needs none; `helm test` is one.
    lacks "$mode" 'helm.sh/hook: (pre|post|crd)'
  done
  ! grep -rnE '\b(lookup|rand[A-Z][A-Za-z]*|gen[A-Z][A-Za-z]*|now|uuidv4)\b' "$chart"/templates --include='*.yaml' --include='*.tpl' |
    grep -E '\{\{' || fail "$chart: a template is not a function of its values"
  sed -nE 's/^([a-zA-Z]+):.*/\1/p' "$chart/values.yaml" >"$out/keys"
  while read -r key; do
    grep -qE "\`${key}[.\`]" "$chart/README.md" || fail "$chart/README.md does not explain $key"
    grep -qE "^    \"$key\":" "$chart/values.schema.json" || fail "$chart/values.schema.json lacks $key"
  done <"$out/keys"
done

# The definitions are copies.
for crd in ../crds/*.yaml; do
  cmp -s "$crd" "dayfly/files/crds/$(basename "$crd")" || fail "dayfly/files/crds is stale: run \`make crds\`"
done

# Rights. A rule on credentials without names would be a rule on every Secret of the namespace.
lacks dayfly-default 'resourceNames: (\[\]|null|$)'
has dayfly-watch-namespaces 'resourceNames: \["contoso-pat"\]'
has dayfly-all-on 'resourceNames: \["another","contoso-pat","fabrikam-principal","local-pat","proxy-credential"\]'
for mode in default all-on; do
  name=dayfly-operator
  [ $mode = all-on ] && name=hatchery
  document "dayfly-$mode" ClusterRole $name-pools | grep -q 'resources: \[pods\]' || fail "$mode: no rights on pods"
  ! document "dayfly-$mode" ClusterRole $name-pools | grep -q 'secrets' || fail "$mode: Secrets in pool namespaces"
done
[ "$(grep -c '^kind: ClusterRole$' "$out/dayfly-watch-namespaces.yaml")" = 1 ] ||
  fail "watchNamespaces: more than one ClusterRole"
for namespace in ci ci-release; do
  has dayfly-watch-namespaces "namespace: $namespace$"
done
! document dayfly-watch-namespaces Role dayfly-operator-pools | grep -q secrets || fail "Secrets in pool namespaces"
has dayfly-watch-namespaces 'value: "ci,ci-release"'

# What the values change.
has dayfly-default 'helm.sh/resource-policy: keep'
lacks dayfly-all-on 'helm.sh/resource-policy: keep'
lacks dayfly-default '^kind: (PoolConnection|ServiceMonitor|NetworkPolicy|PodDisruptionBudget)$'
for kind in PoolConnection ServiceMonitor NetworkPolicy PodDisruptionBudget ConfigMap; do
  has dayfly-all-on "^kind: $kind$"
done
has dayfly-all-on 'image: "registry.example.com/dayfly/operator@sha256:0{64}"'
has dayfly-all-on 'value: "registry.example.com/dayfly/agent:dev"'
has dayfly-all-on 'audience: "api://AzureADTokenExchange"'
lacks dayfly-default 'federated'
has dayfly-default 'value: "dayfly-operator.dayfly-system.svc"'
has dayfly-pool-default 'public-url=http://dayfly-pool.dayfly-system.svc.cluster.local:8080/default$'
has dayfly-pool-all-on 'claimName: queue-data'
has dayfly-pool-all-on 'wake-secret-file=/etc/dayfly-pool/wake/secret$'
lacks dayfly-pool-default 'wake-url'
lacks dayfly-pool-default '^kind: (Ingress|NetworkPolicy|ServiceMonitor)$'
for kind in Ingress NetworkPolicy ServiceMonitor; do
  has dayfly-pool-all-on "^kind: $kind$"
done
has dayfly-pool-default 'retention=30d$'
lacks dayfly-pool-default 'retention-runs'
has dayfly-pool-all-on 'retention-runs=500$'
has dayfly-pool-default 'type: Recreate'
lacks dayfly-pool-default '(database-url|keys)-file'
has dayfly-pool-replicas 'replicas: 3'
has dayfly-pool-replicas 'type: RollingUpdate'
has dayfly-pool-replicas 'database-url-file=/postgresql/url$'
has dayfly-pool-replicas 'keys-file=/keys/keys.json$'
has dayfly-pool-replicas 'accessModes: \[ReadWriteMany\]'
helm template dayfly dayfly --namespace dayfly-system --values dayfly/ci/all-on-values.yaml --set crds.enabled=true |
  grep -q '^kind: PoolConnection$' && fail "a first install would contain kinds that the cluster does not serve"

refused dayfly 'nonsense' --set nonsense=1
refused dayfly 'replicaCount' --set replicaCount=3
refused dayfly 'logFormat' --set operator.logFormat=xml
refused dayfly 'extraEnv' --set 'operator.extraEnv[0].name=DAYFLY_LOG' --set 'operator.extraEnv[0].value=x'
refused dayfly 'must be apart' --set identitiesNamespace=dayfly-system
refused dayfly 'beside the sealed keys' --set 'watchNamespaces={dayfly-identities}'
refused dayfly 'beside credentials' --set 'watchNamespaces={dayfly-system}'
refused dayfly "operator's own" --set 'credentialSecrets={dayfly-sealing}'
refused dayfly 'metrics.service.enabled' --set metrics.serviceMonitor.enabled=true --set metrics.service.enabled=false
refused dayfly-pool 'nonsense' --set nonsense=1
refused dayfly-pool 'publicUrl' --set publicUrl=http://pool.example.com
refused dayfly-pool 'publicUrl' --set publicUrl=http://pool.example.com/default/
refused dayfly-pool 'ingress.host' --set ingress.enabled=true
refused dayfly-pool 'wakeHook.secretName' --set wakeHook.url=http://operator:8080/hooks/wake

replicas=(--set replicaCount=2 --set postgresql.existingSecret=a --set keys.existingSecret=b)
replicas+=(--set persistence.enabled=true --set persistence.accessMode=ReadWriteMany)
refused dayfly-pool 'postgresql' "${replicas[@]}" --set postgresql.existingSecret=
refused dayfly-pool 'keys' "${replicas[@]}" --set keys.existingSecret=
refused dayfly-pool 'share repositories and artifacts' "${replicas[@]}" --set persistence.enabled=false
refused dayfly-pool 'share repositories and artifacts' "${replicas[@]}" --set persistence.accessMode=ReadWriteOnce

[ $failed = 0 ] && echo "charts: ok"
exit $failed
