#!/usr/bin/env bash
# Formats the C++ sources with the style in .clang-format. With --check, only lists the places that are not formatted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v clang-format >/dev/null || {
  echo "tools/format.sh: clang-format is not installed; install the Debian package clang-format" >&2
  exit 1
}
mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.h' '*.cc' '*.inc')
if [[ "${1:-}" == --check ]]; then
  clang-format --dry-run --Werror "${files[@]}"
else
  clang-format -i "${files[@]}"
fi
