#!/usr/bin/env bash
# Measures the pool service on SQLite, then on a PostgreSQL of its own, with all that arguments say:
#   bench/pool/run.sh [ARGUMENTS OF dayfly-bench-pool...]
set -euo pipefail
cd "$(dirname "$0")/../.."
built="${CARGO_TARGET_DIR:-target}/release"
cargo build --release --locked -p dayfly-pool -p dayfly-bench-pool

echo "on SQLite:"
"$built/dayfly-bench-pool" --output target/bench/pool.json "$@"

# As PostgreSQL comes, but for the TLS: what it promised to have written, it has written.
export DAYFLY_POSTGRES_OPTIONS="-c fsync=on"
built=$(realpath "$built")
export built
echo "on PostgreSQL:"
e2e/postgres.sh bash -euo pipefail -c '
  file=$(mktemp)
  trap "rm -f $file" EXIT
  printf %s "$DAYFLY_TEST_POSTGRES" >"$file"
  "$built/dayfly-bench-pool" --output target/bench/pool-postgres.json \
    --serve-arg=--database-url-file --serve-arg="$file" "$@"
' bench "$@"
