module github.com/rocketmq-connect/operator/hack/stack

go 1.26.0
