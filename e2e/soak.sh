#!/usr/bin/env bash
# What takes too long for every commit: the pool service killed a hundred times under load, on SQLite and on PostgreSQL,
# and the operator at each call three times.
set -euo pipefail
cd "$(dirname "$0")/.."

export DAYFLY_ROUNDS=${DAYFLY_ROUNDS:-100}
cargo test --workspace --locked --quiet --test crashes -- --nocapture
e2e/postgres.sh cargo test --workspace --locked --quiet --test crashes -- --ignored --nocapture
e2e/cluster/build.sh
cargo test --workspace --locked --quiet --test control_plane -- --nocapture --test-threads=1 crashes
