# shellcheck shell=bash
# The options that up.sh and down.sh share. Read before env.sh, which takes the
# state directory from the environment.

while [ $# -gt 0 ]; do
  case "$1" in
    --state)
      [ $# -ge 2 ] || { echo "--state needs a directory" >&2 && exit 2; }
      export DAYFLY_STATE="$2"
      shift 2
      ;;
    *)
      echo "usage: $0 [--state DIR]" >&2
      exit 2
      ;;
  esac
done
