#!/usr/bin/env bash
# Runs the end-to-end tests on a local stack made for them, and takes it down again. KEEP=1 leaves it up.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
stack() { go run -C "$root/hack/stack" . "$@"; }
[ -n "${KEEP:-}" ] || trap 'stack down' EXIT
stack down
stack up
make --no-print-directory load-image
eval "$(stack env)"
go test -timeout 25m -count=1 -v -tags e2e ./test/e2e/...
