//go:build !linux

package cluster

import (
	"os"
	"time"
)

// Now is a monotonic time since the start of the process, for this system has no CLOCK_BOOTTIME.
func Now() time.Duration { return monotonic() }

// bootID is empty: none is known here, so nothing is proved.
func bootID() string { return "" }

func isLocal(*os.File) bool { return false }
