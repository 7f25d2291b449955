#!/usr/bin/env bash
# Runs the suite for RocketMQ, and a worker that asks for its permissions, on both of its lines, with and without access control and
# TLS, on brokers of its own, which are taken down after. PORT_BASE is where their ports begin; arguments go to the test program.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
base=${PORT_BASE:-21000}
stack() { go run -C "$root/hack/stack" . "$@" --port-base "$base"; }
tests=$(mktemp -d)
trap 'stack down; rm -rf "$tests"' EXIT
CGO_ENABLED=1 go test -C "$root" -race -c -tags integration -o "$tests/integration" ./test/integration
unset RMQ_ACCESS_KEY RMQ_SECRET_KEY RMQ_TLS_CA RMQ_TLS_CERT RMQ_TLS_KEY
failed=0
for version in 5.3.3 4.9.7; do
  for with in '' --acl '--tls server' '--tls mutual --acl'; do
    read -ra flags <<<"$with"
    stack up --only rocketmq,kafka --rocketmq "$version" "${flags[@]}"
    echo "=== RocketMQ $version $with"
    (
      eval "$(stack env --only rocketmq,kafka "${flags[@]}")"
      cd "$root/test/integration"
      "$tests/integration" -test.run "^TestRocketMQ|^TestAWorkerNames" -test.count 1 -test.timeout 5m "$@"
    ) || failed=1
  done
done
exit "$failed"
