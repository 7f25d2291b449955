//go:build !linux

package cluster

import "time"

// Now is a monotonic time since the start of the process, for this system has no CLOCK_BOOTTIME.
func Now() time.Duration { return monotonic() }
