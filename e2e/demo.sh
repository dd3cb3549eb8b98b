#!/usr/bin/env bash
# From a fresh clone to a finished job: cluster, images, charts, one AgentPool, one job. Can be run again at once.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=e2e/phases.sh
. e2e/phases.sh

if [ ! -d "${DAYFLY_CACHE:-$HOME/.cache/dayfly}/cluster" ] && [ -z "${KUBECONFIG_DAYFLY:-}" ]; then
  echo "First run on this machine: building Kubernetes and Dayfly takes about half an hour on two cores."
  echo "Later runs take under two minutes."
fi

phase "cluster programs" e2e/cluster/build.sh
phase "cluster" e2e/cluster/up.sh
phase "Dayfly's programs" e2e/binaries.sh
phase "images" e2e/cluster/images.sh target/images
phase "charts" e2e/install.sh
# shellcheck source=e2e/cluster/env.sh
. e2e/cluster/env.sh
phase "job" target/images/out/dayfly-demo
phases_summary
