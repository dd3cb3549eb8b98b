#!/usr/bin/env bash
# On PostgreSQL: the pool service's protocol tests again, those of several replicas, and replicas that are killed.
# Needs everything compiled: `cargo test --workspace --locked --no-run`.
set -euo pipefail
cd "$(dirname "$0")/.."

# Programs of tests of a package, as cargo names them: selecting packages would compile half of the dependencies again.
programs_of() {
  cargo test --workspace --locked --no-run --quiet --message-format json 2>/dev/null |
    sed -nE 's|.*"manifest_path":"'"$PWD/$1"'/Cargo.toml".*"kind":\["test"\].*"executable":"([^"]+)".*|\1|p'
}

# What is ignored without PostgreSQL says so; what is ignored for another reason stays so.
run_all() {
  local program
  for program in $(programs_of crates/pool); do
    case "$program" in
      */replicas-*) (cd crates/pool && "$program" --test-threads=4 --ignored) || return 1 ;;
      # A test's own directory is its package's, as with cargo.
      *) (cd crates/pool && "$program" --test-threads=4) || return 1 ;;
    esac
  done
  for program in $(programs_of pool); do
    case "$program" in
      */crashes-*) (cd pool && "$program" --ignored --nocapture) || return 1 ;;
    esac
  done
}

if [ "${1:-}" = run ]; then
  [ -n "$(programs_of crates/pool)" ] || {
    echo "postgres-tests: cargo named no tests of the pool service" >&2
    exit 1
  }
  run_all
else
  exec e2e/postgres.sh e2e/postgres-tests.sh run
fi
