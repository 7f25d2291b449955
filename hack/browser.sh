#!/usr/bin/env bash
# Runs a command with a Chromium on the PATH: Debian's is installed if there is none, which needs root.
set -euo pipefail
if ! command -v chromium >/dev/null; then
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "no chromium on the PATH: install it" >&2; exit 1; }
  echo "installing Debian's chromium (about 100 MB)"
  { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null
fi
exec "$@"
