#!/usr/bin/env bash
# Builds a checkout without build outputs, and trains a model across daemons:
#
#   deploy/demo.sh [--text FILE] [--steps N] [--devices N] [--microbatches K] [--keep]
#
# Installs the missing packages and builds the tree. Starts one coordinator and two workers on this machine. Each worker
# has two CPU devices. Trains a byte-level GPT with 6 million parameters on the text. Compares the losses of the first
# steps with the losses of plain jax.jit. The exit status is 0 only if the losses agree.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
"$root/tools/install.sh"
if [[ ! -f build/release/build.ninja ]]; then cmake --preset release -DALPA_BENCH=OFF >/dev/null; fi
echo "building (the first time takes a while)" >&2
cmake --build --preset release -j "$(nproc)" --target alpa-coordinator alpa-worker alpa
export ALPA_BIN="$root/build/release/bin" JAX_PLATFORMS=cpu
exec "$root/.venv/bin/python" "$root/deploy/demo.py" "$@"
