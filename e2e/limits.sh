#!/usr/bin/env bash
# What the agent is promised to bear, at full size: a line of a gigabyte, ten million lines, the longest job message, ten
# gigabytes of zeros in a task's archive. Prints what memory it took. The ordinary tests run the same in small.
set -euo pipefail
cd "$(dirname "$0")/.."
export DAYFLY_TEST_LIMIT="${DAYFLY_TEST_LIMIT:-3600}"
exec cargo test --release --locked --package dayfly-agent --lib --test limits -- --ignored --nocapture --test-threads=1 "$@"
