#!/usr/bin/env bash
# Installs everything that building, testing and the demo need on Debian 12: system packages (as root or through sudo)
# and a Python environment in .venv. Returns quickly if everything is installed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

packages=(
  ca-certificates git g++ cmake ninja-build ccache lld pkg-config
  libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc libabsl-dev libre2-dev libssl-dev zlib1g-dev
  libc-ares-dev
  libspdlog-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libcpp-httplib-dev libsqlite3-dev libsystemd-dev
  libucx-dev ucx-utils libopenblas-openmp-dev libxxhash-dev coinor-libcbc-dev
  libgtest-dev libgmock-dev libbenchmark-dev python3 python3-venv iproute2
)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "installing ${#missing[@]} Debian packages" >&2
  as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || {
      echo "cannot install these packages without root or sudo: ${missing[*]}" >&2
      exit 1
    }
    as_root=(sudo)
  fi
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update &&
         "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
           apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "apt-get failed; its full output is in $log" >&2
    exit 1
  fi
  rm -f "$log"
fi

# Updates the Python environment if one of its inputs has changed.
inputs=(client/python/{requirements.txt,pyproject.toml,setup.py,generate.py} proto/*.proto)
stamp=$(cat "${inputs[@]}" | sha256sum | cut -d' ' -f1)
if [[ "$(cat .venv/alpa-stamp 2>/dev/null || true)" != "$stamp" ]]; then
  echo "updating the Python environment .venv" >&2
  python=python3
  [[ -x /usr/bin/python3 ]] && python=/usr/bin/python3
  [[ -x .venv/bin/python ]] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r client/python/requirements.txt
  .venv/bin/python client/python/generate.py >/dev/null
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e client/python
  echo "$stamp" > .venv/alpa-stamp
fi
