package cluster

import (
	"time"

	"golang.org/x/sys/unix"
)

// Now is the time of CLOCK_BOOTTIME: it goes on while the host sleeps, and nobody sets it. Where there is none it is a
// monotonic time since the start of the process.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return monotonic()
	}
	return time.Duration(ts.Nano())
}
