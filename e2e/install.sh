#!/usr/bin/env bash
# Installs (or upgrades) the pool service and the operator by their charts, into the cluster of e2e/cluster/env.sh,
# with the images that e2e/cluster/images.sh loaded. Names are those of e2e/src/names.rs.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=e2e/cluster/env.sh
. e2e/cluster/env.sh

registry="${DAYFLY_IMAGES%/*}"
prefix="${DAYFLY_IMAGES##*/}"
if [ "$registry" = "$DAYFLY_IMAGES" ]; then
  registry="$DAYFLY_IMAGES"
  prefix=""
fi
image() { echo "${prefix:+$prefix/}$1"; }

# The tag stays the same while its content changes, so pods are told by annotation that they are of an older build.
build() { sha256sum "target/images/out/dayfly-$1" | cut -c1-16; }

# The pool service calls the operator's hook with this; both sides have it.
for namespace in dayfly-pool dayfly-system; do
  kubectl create namespace "$namespace" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
done
if ! kubectl -n dayfly-pool get secret dayfly-wake >/dev/null 2>&1 ||
  ! kubectl -n dayfly-system get secret dayfly-wake >/dev/null 2>&1; then
  secret="$(mktemp)"
  head -c 32 /dev/urandom | base64 -w0 >"$secret"
  for namespace in dayfly-pool dayfly-system; do
    kubectl -n "$namespace" create secret generic dayfly-wake --from-file=secret="$secret" --dry-run=client -o yaml |
      kubectl apply -f - >/dev/null
  done
  rm -f "$secret"
fi

helm upgrade --install dayfly-pool charts/dayfly-pool \
  --namespace dayfly-pool --create-namespace --wait --timeout 3m \
  --set fullnameOverride=dayfly-pool \
  --set image.registry="$registry" --set image.repository="$(image pool)" --set image.tag="$DAYFLY_TAG" \
  --set-string podAnnotations.build="$(build pool)" \
  --set wakeHook.url=http://dayfly-operator.dayfly-system.svc.cluster.local:8080/hooks/wake \
  --set wakeHook.secretName=dayfly-wake \
  --set publicUrl=http://dayfly-pool.dayfly-pool.svc.cluster.local:8080/default >/dev/null
echo "installed charts/dayfly-pool into namespace dayfly-pool"

helm upgrade --install dayfly charts/dayfly \
  --namespace dayfly-system --create-namespace --wait --timeout 3m \
  --set fullnameOverride=dayfly-operator \
  --set image.registry="$registry" --set image.repository="$(image operator)" --set image.tag="$DAYFLY_TAG" \
  --set agentImage.registry="$registry" --set agentImage.repository="$(image agent)" \
  --set agentImage.tag="$DAYFLY_TAG" \
  --set-string podAnnotations.build="$(build operator)-$(build agent)" \
  --set 'credentialSecrets={demo-pat,e2e-pat,e2e-pat-revoked,e2e-pat-wrong,dayfly-wake}' >/dev/null
echo "installed charts/dayfly into namespace dayfly-system"
