#!/usr/bin/env bash
# Builds the programs that go into the images, and the demo's driver, statically linked, and puts them where
# e2e/cluster/images.sh looks for them: target/images/out.
#
# Static, because step-host runs in whatever image a template names: it cannot count on a C library being there.
set -euo pipefail
cd "$(dirname "$0")/.."

host="$(rustc -vV | sed -n 's/^host: //p')"
export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
# An explicit target keeps the flags away from build scripts and procedural macros.
cargo build --release --locked --target "$host" \
  -p dayfly-operator -p dayfly-agent -p dayfly-pool -p dayfly-e2e -p dayfly-bench --bins
built="${CARGO_TARGET_DIR:-target}/$host/release"
mkdir -p target/images/out
for name in dayfly-operator dayfly-agent dayfly-pool dayfly-demo dayfly-bench; do
  # Only what changed gets a new time: the image build and its caches go by content, people by `ls -l`.
  cmp -s "$built/$name" "target/images/out/$name" || cp "$built/$name" "target/images/out/$name"
done
