//go:build !linux

package kafka

import "syscall"

// limitUnacknowledged does nothing: the option exists on Linux only.
func limitUnacknowledged(_, _ string, _ syscall.RawConn) error { return nil }
