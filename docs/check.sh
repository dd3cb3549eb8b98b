#!/usr/bin/env bash
# What the documents name must exist: links, paths, metrics, and tests (names in backticks with three underscores or
# more).
# shellcheck disable=SC2016 # backticks are what is looked for
set -euo pipefail
cd "$(dirname "$0")/.."

failed=0
fail() {
  echo "docs: $*" >&2
  failed=1
}

mapfile -t pages < <(git ls-files --cached --others --exclude-standard '*.md')
metrics=(operator/src/metrics.rs crates/pool/src/metrics.rs)
functions=$(mktemp)
trap 'rm -f "$functions"' EXIT
git ls-files --cached --others --exclude-standard '*.rs' | xargs -r grep -hoE 'fn [a-z0-9_]+' | sort -u >"$functions"

for page in "${pages[@]}"; do
  while read -r target; do
    [ -e "$(dirname "$page")/${target%%#*}" ] || fail "$page: no $target"
  done < <(grep -oE '\]\([^)]+\)' "$page" | sed -E 's/^\]\((.*)\)$/\1/' | grep -vE '^(https?:|#|mailto:)' || true)
  # `path/` or `path/file.ext` from the root; commands, images and API paths have another form. What is under target/
  # exists only after a build.
  while read -r path; do
    [ -e "$path" ] || [ -e "$(dirname "$page")/$path" ] || fail "$page: no $path"
  done < <(grep -oE '`[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*(/|/[A-Za-z0-9_-]+\.(rs|yaml|json|sh|md|toml))`' "$page" | tr -d '`' | grep -v '^target/' || true)
  while read -r name; do
    grep -qx "fn $name" "$functions" || fail "$page: no test $name"
  done < <(grep -oE '`[a-z0-9]+(_[a-z0-9]+){3,}`' "$page" | tr -d '`' | grep -v '^dayfly_' | sort -u || true)
  while read -r name; do
    stem=${name#dayfly_}
    stem=${stem#pool_}
    grep -qE "\"(pool_)?${stem%_total}(_total)?\"" "${metrics[@]}" || fail "$page: no metric $name"
  done < <(grep -oE '`dayfly(_[a-z0-9]+)+`' "$page" | tr -d '`' | sort -u || true)
done

[ $failed = 0 ] && echo "docs: ok"
exit $failed
