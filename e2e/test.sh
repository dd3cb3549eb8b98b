#!/usr/bin/env bash
# Everything that `make test` asserts, cheapest first; the time of each phase at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=e2e/phases.sh
. e2e/phases.sh

cargo_deny() { "${DAYFLY_CACHE:-$HOME/.cache/dayfly}/tools/bin/cargo-deny" check bans licenses sources; }

clippy() { cargo clippy --workspace --all-targets --locked --quiet -- -D warnings; }

drift() {
  local fresh
  fresh="$(mktemp -d)"
  cargo run --quiet --locked -p dayfly-operator -- crd --directory "$fresh"
  if ! { diff -ru crds "$fresh" && diff -ru charts/dayfly/files/crds "$fresh"; }; then
    echo "the committed CRDs are not what the code says: run 'make crds' and commit" >&2
    return 1
  fi
  rm -rf "$fresh"
}

# In a shell of its own: only these phases see the cluster.
on_cluster() {
  # shellcheck source=e2e/cluster/env.sh
  (. e2e/cluster/env.sh && KUBECONFIG_DAYFLY_TEST="$KUBECONFIG" "$@")
}

api_rules() { cargo test --locked -p dayfly-operator --test crd_rules; }

cluster_tests() { cargo test --locked -p dayfly-e2e -- --test-threads=2; }

phase "tools" e2e/tools.sh
phase "format" cargo fmt --all --check
phase "documents" docs/check.sh
phase "clippy" clippy
phase "dependencies" cargo_deny
phase "unit and protocol tests" cargo test --locked
phase "CRD drift" drift
phase "cluster programs" e2e/cluster/build.sh
phase "charts" on_cluster charts/check.sh
phase "Dayfly's programs" e2e/binaries.sh
phase "cluster" e2e/cluster/up.sh
phase "images" e2e/cluster/images.sh target/images
phase "install" e2e/install.sh
phase "API rules" on_cluster api_rules
phase "cluster tests" on_cluster cluster_tests
phases_summary
