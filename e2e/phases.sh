# shellcheck shell=bash
# Sourced: runs the phases of a long script, says how long each took, and all of them at the end.

DAYFLY_PHASES=()
DAYFLY_PHASES_START=$SECONDS

phase() {
  local name="$1" start=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  if ! "$@"; then
    printf '=== %s FAILED after %d s: %s\n' "$name" "$((SECONDS - start))" "$*" >&2
    DAYFLY_PHASES+=("$(printf '%-28s %6d s  FAILED' "$name" "$((SECONDS - start))")")
    phases_summary >&2
    exit 1
  fi
  DAYFLY_PHASES+=("$(printf '%-28s %6d s' "$name" "$((SECONDS - start))")")
}

phases_summary() {
  printf '\n=== time of each phase\n'
  printf '%s\n' "${DAYFLY_PHASES[@]}"
  printf '%-28s %6d s\n' "all" "$((SECONDS - DAYFLY_PHASES_START))"
}
