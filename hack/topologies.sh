#!/usr/bin/env bash
# Runs test/topology on RocketMQs of several brokers, one topology after the other, on brokers of its own, which are taken down
# after. TOPOLOGY names the topologies, PORT_BASE where their ports begin; arguments go to the test program.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
base=${PORT_BASE:-22000}
stack() { go run -C "$root/hack/stack" . "$@" --port-base "$base"; }
tests=$(mktemp -d)
trap 'stack down; rm -rf "$tests"' EXIT
CGO_ENABLED=1 go test -C "$root" -race -c -tags topology -o "$tests/topology" ./test/topology
failed=0
for topology in ${TOPOLOGY:-masters controller replicated proxy}; do
  only=rocketmq
  more=
  case $topology in
    masters) only=rocketmq,kafka ;;
    replicated) more=--sync ;;
  esac
  stack up --only "$only" --topology "$topology" ${more:+"$more"}
  echo "=== RocketMQ as $topology"
  (
    eval "$(stack env --only "$only")"
    export RMQ_TOPOLOGY=$topology RMQ_PORT_BASE=$base
    cd "$root/test/topology"
    "$tests/topology" -test.count 1 -test.timeout 20m "$@"
  ) || failed=1
  stack down
done
exit "$failed"
