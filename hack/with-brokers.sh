#!/usr/bin/env bash
# Runs a command with a real RocketMQ and Kafka on this machine. Brokers that were up before stay up; others are taken down.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
stack() { go run -C "$root/hack/stack" . "$@"; }
if ! stack status --only rocketmq,kafka >/dev/null 2>&1; then
  trap 'stack down' EXIT
  stack up --only rocketmq,kafka
fi
export RMQ_NAMESRV=${RMQ_NAMESRV:-127.0.0.1:9876} KAFKA_BOOTSTRAP=${KAFKA_BOOTSTRAP:-127.0.0.1:9092}
"$@"
