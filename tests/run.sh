#!/usr/bin/env bash
# Installs the dependencies, builds the project and runs all tests:
#
#   tests/run.sh            everything
#   tests/run.sh --quick    all tests except the end-to-end tests
#   tests/run.sh --full     everything, with the complete matrix of plans against JAX (takes an hour)
#
# The last line is "N passed, N failed". The script fails if a test fails or a test runner does not finish.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
quick=0
full=()
for argument in "$@"; do
  case "$argument" in
    --quick) quick=1 ;;
    --full) full=(--full) ;;
    *) echo "tests/run.sh: unknown argument $argument; expected --quick or --full" >&2; exit 2 ;;
  esac
done

tools/install.sh || exit 1
jobs=$(nproc)
cmake --preset release -DALPA_BENCH=OFF >/dev/null || exit 1
cmake --build --preset release -j "$jobs" || exit 1
# Links every library with only its declared dependencies, and compiles every header alone.
cmake --build --preset release -j "$jobs" --target layering || exit 1

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
ctest --preset release -j "$jobs" --output-junit "$results/ctest.xml" --no-tests=error
export ALPA_BIN="$root/build/release/bin" JAX_PLATFORMS=cpu
suites=(tools client/python/tests)
((quick)) || suites+=(tests/e2e)
.venv/bin/python -m pytest -q --durations=10 "${suites[@]}" "${full[@]}" --junit-xml "$results/pytest.xml"

.venv/bin/python - "$results" <<'PY'
import pathlib, sys, xml.etree.ElementTree as tree
total = failed = skipped = 0
for name in ("ctest.xml", "pytest.xml"):
    file = pathlib.Path(sys.argv[1]) / name
    if not file.exists():
        print(f"{name} was not written: its runner did not finish")
        failed += 1
        continue
    for case in tree.parse(file).iter("testcase"):
        total += 1
        failed += case.get("status") == "fail" or any(case.find(k) is not None for k in ("failure", "error"))
        skipped += case.find("skipped") is not None
print(f"{total - failed - skipped} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(failed > 0 or total == 0)
PY
