//go:build !linux

// Command bench measures the worker. It needs Linux: it pins processes to cores and reads /proc.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench needs Linux: it pins processes to cores and reads /proc")
	os.Exit(1)
}
