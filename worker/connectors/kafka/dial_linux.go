package kafka

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// limitUnacknowledged lets a connection die when the other side takes nothing for a while, so that a process that was
// frozen does not deliver old bytes when it or the network wakes up.
func limitUnacknowledged(_, _ string, raw syscall.RawConn) error {
	var err error
	if controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unacknowledged.Milliseconds()))
	}); controlErr != nil {
		err = controlErr
	}
	if err != nil {
		return fmt.Errorf("setting TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
