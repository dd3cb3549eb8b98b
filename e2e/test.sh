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
  "${CARGO_TARGET_DIR:-target}/debug/dayfly-operator" crd --directory "$fresh"
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

# One selection of packages for every cargo command: another one would unify features anew and compile half of the
# dependencies again.
compile() { cargo test --workspace --locked --no-run --quiet; }

unit() { cargo test --workspace --locked --no-fail-fast --lib --bins; }

# What the tests compiled goes into the images, linked dynamically: the base image is this machine's release of
# Debian. The optimised, static programs of e2e/binaries.sh would take as long to build as everything else together.
programs() {
  local built="${CARGO_TARGET_DIR:-target}/debug" name
  mkdir -p target/images/out
  for name in dayfly-operator dayfly-agent dayfly-pool; do
    strip -o "target/images/out/$name" "$built/$name"
  done
}

# Protocol tests, rules of the API, and the cluster suite: every test that is a program of its own.
integration() { cargo test --workspace --locked --no-fail-fast --test '*' -- --test-threads=2; }

phase "tools" e2e/tools.sh
phase "client libraries" e2e/clients.sh
phase "browser" e2e/browser.sh
phase "format" cargo fmt --all --check
phase "documents" docs/check.sh
phase "dependencies" cargo_deny
phase "clippy" clippy
phase "compile" compile
phase "unit tests" unit
phase "pool service on PostgreSQL" e2e/postgres-tests.sh
phase "CRD drift" drift
phase "cluster programs" e2e/cluster/build.sh
phase "charts" on_cluster charts/check.sh
phase "cluster" e2e/cluster/up.sh
phase "programs" programs
phase "images" e2e/cluster/images.sh target/images
phase "install" e2e/install.sh
phase "protocol and cluster tests" on_cluster integration
phases_summary
