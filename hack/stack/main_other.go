//go:build !linux

// Command stack runs RocketMQ, Kafka and Kubernetes on a Linux machine; elsewhere it says what to use instead.
package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(
		os.Stderr,
		"stack: this is %s; the local stack runs on Linux only (Debian 12 was tried). Use a Linux machine or virtual machine, "+
			"or your own Kubernetes, RocketMQ and Kafka: the README's section on installing says how.\n",
		runtime.GOOS,
	)
	os.Exit(1)
}
