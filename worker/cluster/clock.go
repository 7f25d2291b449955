package cluster

import (
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/member"
)

// Clock reads a clock that goes on while the host sleeps and is never set, and the wall clock since 1970.
type Clock func() (boot, wall time.Duration)

// SystemClock is the host's: Now and time.Now.
func SystemClock() (boot, wall time.Duration) { return Now(), time.Duration(time.Now().UnixNano()) }

func (c *Cluster) now() member.Time {
	boot, wall := c.cfg.Clock()
	return member.Time{Boot: boot, Wall: wall}
}

var processStart = time.Now()

func monotonic() time.Duration { return time.Since(processStart) }
