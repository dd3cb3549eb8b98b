#!/usr/bin/env bash
# The pool service's protocol tests again, on PostgreSQL, and those of several replicas. Needs them compiled: `cargo test --workspace --locked --no-run`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Found by what cargo says, since another selection of packages would compile half of the dependencies again.
mapfile -t tests < <(cargo test --workspace --locked --no-run --quiet --message-format json 2>/dev/null |
  sed -nE 's|.*"manifest_path":"[^"]*/crates/pool/Cargo.toml".*"kind":\["test"\].*"executable":"([^"]+)".*|\1|p')
[ "${#tests[@]}" -gt 0 ] || {
  echo "postgres-tests: cargo named no tests of the pool service" >&2
  exit 1
}

run_all() {
  local test
  for test in "${tests[@]}"; do
    # A test's own directory is its package's, as with cargo.
    (cd crates/pool && "$test" --test-threads=4) || return 1
  done
}

if [ "${1:-}" = run ]; then
  run_all
else
  exec e2e/postgres.sh "$0" run
fi
