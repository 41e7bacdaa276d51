#!/usr/bin/env bash
# Runs the complete test matrices of plans on daemons, and 300 random plans per model in the interpreter. Prints
# docs/coverage.md. Takes about two hours on two cores. REQUIRES: a release build.
#
#   tests/coverage.sh > docs/coverage.md
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export ALPA_BIN=${ALPA_BIN:-$PWD/build/release/bin} JAX_PLATFORMS=cpu
python=.venv/bin/python
jobs=$(mktemp -d)
trap 'rm -rf "$jobs"' EXIT
failed=0

cat <<'HEAD'
# Coverage

The table lists the runs of `tests/coverage.sh` and their results. `tests/e2e/compare.py` defines "equal": aux and the
change of state equal those of single-device `jax.jit`, within the effect of rounding that the test measures. Continuous
integration runs a seeded part of these runs.

| subject | test or model | result | date |
|---|---|---|---|
HEAD

row() {
  printf '| %s | %s | %s | %s |\n' "$1" "$2" "$3" "$(date -u +%F)"
  echo "$(date +%T) $2: $3" >&2
}

matrix() {
  local out
  out=$("$python" -m pytest -q --full "$2" 2>&1) || { failed=1; echo "$out" >&2; }
  row "$1" "\`$2 --full\`" "$(tail -1 <<<"$out" | sed 's/=//g')"
}

matrix "data parallelism, microbatches" tests/e2e/test_equality.py
matrix "tensor parallelism, ZeRO, sequence, remat" tests/e2e/test_sharded.py
matrix "pipelines" tests/e2e/test_pipeline.py
matrix "bytes sent, compared with formulas" tests/e2e/test_traffic.py
matrix "a run continues under another plan" tests/e2e/test_replan.py

"$python" tests/e2e/export_jobs.py "$jobs" >/dev/null || failed=1
# Runs one process per core. The output of a job goes to JOB.out next to the job directory.
find "$jobs" -mindepth 1 -maxdepth 1 -type d | sort | xargs -P "$(nproc)" -I{} sh -c \
  '"$ALPA_BIN/check_lowering" {} random=300,seed=1000 > {}.out 2>&1 || cat {}.out >&2
   echo "$(date +%T) $(basename {}): $(tail -1 {}.out)" >&2'
for out in "$jobs"/*.out; do
  result=$(tail -1 "$out")
  [[ "$result" == *"300 of 300 plans equal"* ]] || failed=1
  row "random plans, interpreted" "$(basename "$out" .out)" "${result#*: }"
done
exit $failed
