#!/usr/bin/env bash
# Installs what the tests of the web page drive: Debian's chromium and chromedriver, unless they are there.
set -euo pipefail
if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
  chromedriver --version
  exit 0
fi
if [ "$(id -u)" != 0 ]; then
  echo "the tests of the web page need chromium and chromedriver: install Debian's packages chromium and chromium-driver" >&2
  exit 1
fi
echo "installing Debian packages: chromium chromium-driver (about 120 MB, first time only)"
out="$(mktemp)"
trap 'rm -f "$out"' EXIT
export DEBIAN_FRONTEND=noninteractive
# A font that has what a page shows: without one, every text is boxes.
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends chromium chromium-driver fonts-dejavu-core; } \
  </dev/null >"$out" 2>&1; then
  tail -n 30 "$out" >&2
  exit 1
fi
chromedriver --version
