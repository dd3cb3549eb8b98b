#!/usr/bin/env bash
# Installs the development tools that are not part of the toolchain, outside the tree: cargo-deny.
set -euo pipefail
cache="${DAYFLY_CACHE:-$HOME/.cache/dayfly}"
version=0.20.2
if ! "$cache/tools/bin/cargo-deny" --version 2>/dev/null | grep -qF "$version"; then
  echo "building cargo-deny $version (about 3 minutes on two cores, first time only)"
  # A target directory of its own: its dependencies are not ours. Unoptimised: it runs for seconds, and optimising it
  # takes minutes.
  CARGO_PROFILE_DEV_DEBUG=0 cargo install cargo-deny --version "$version" --locked --quiet --debug \
    --root "$cache/tools" --target-dir "$cache/tools/build"
  rm -rf "$cache/tools/build"
fi
"$cache/tools/bin/cargo-deny" --version
