//go:build !linux

package remoting

import (
	"syscall"
	"time"
)

// userTimeoutControl does nothing: the request's own time-out resets its connection.
func userTimeoutControl(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
