#!/usr/bin/env bash
# Searches the model of sessions and ownership with spin, which is installed from Debian's package where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
missing=()
command -v spin >/dev/null || missing+=(spin)
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
if [ "${#missing[@]}" -gt 0 ]; then
  if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "model: ${missing[*]} missing: install with \"sudo apt-get install ${missing[*]}\"" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  install=(apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}")
  "${install[@]}" || { apt-get -q update && "${install[@]}"; }
fi
go test -count=1 -tags model -timeout 10m "$@" ./test/model
