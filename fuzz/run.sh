#!/usr/bin/env bash
# Fuzzes every parser that reads bytes of strangers, each for SECONDS: fuzz/run.sh [SECONDS] [NAME...]
#
# Without a sanitizer the pinned compiler will do: what a sanitizer finds is misuse of memory, of which safe Rust has none.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-60}"
shift || true

cache="${DAYFLY_CACHE:-$HOME/.cache/dayfly}"
version=0.13.2
tool="$cache/tools/cargo-fuzz-$version/bin/cargo-fuzz"
if ! [ -x "$tool" ]; then
  echo "fuzz: building cargo-fuzz $version" >&2
  cargo install --quiet --locked --root "$cache/tools/cargo-fuzz-$version" "cargo-fuzz@$version"
fi

names=("$@")
[ "${#names[@]}" -gt 0 ] || mapfile -t names < <(cd fuzz/corpus && printf '%s\n' *)
# The versions that are shipped.
cp Cargo.lock fuzz/Cargo.lock
echo "fuzz: building with the fuzzer's instrumentation" >&2
"$tool" build --fuzz-dir fuzz --sanitizer none entries

failed=()
for name in "${names[@]}"; do
  [ -d "fuzz/corpus/$name" ] || { echo "fuzz: there is no fuzz/corpus/$name" >&2; exit 2; }
  # What it finds to be interesting stays out of the repository; what breaks a parser is written to fuzz/artifacts.
  found="$cache/fuzz/$name"
  mkdir -p "$found" "fuzz/artifacts/$name"
  log="fuzz/artifacts/$name.log"
  if DAYFLY_FUZZ_ENTRY="$name" "$tool" run --fuzz-dir fuzz --sanitizer none entries "$found" "fuzz/corpus/$name" -- \
    -artifact_prefix="fuzz/artifacts/$name/" -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 \
    -print_final_stats=1 </dev/null >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz: $name: ${runs:-?} inputs in $seconds s" >&2
  else
    grep -E 'panicked|^SUMMARY|artifact_prefix|ERROR' "$log" >&2 || tail -n 20 "$log" >&2
    failed+=("$name")
  fi
done
[ "${#failed[@]}" = 0 ] || { echo "fuzz: failed: ${failed[*]}; the inputs are in fuzz/artifacts/" >&2; exit 1; }
