package rmq

import (
	"context"
	"errors"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// IsTemporary says whether the same request may succeed later without anybody's help: the broker was busy, restarting or
// out of reach, or did not store the message as safely as it should.
func IsTemporary(err error) bool {
	if errors.Is(err, ErrUnreachable) {
		return true
	}
	var b *BrokerError
	if !errors.As(err, &b) {
		return false
	}
	switch b.Code {
	case remoting.SystemError, remoting.SystemBusy, remoting.FlushDiskTimeout, remoting.SlaveNotAvailable,
		remoting.FlushSlaveTimeout, remoting.ServiceNotAvailable, remoting.FlowControl:
		return true
	}
	return false
}

// backoff doubles the wait from first to last. The zero value is not usable.
type backoff struct{ first, last, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// wait pauses, or fails with the cause of the context's end.
func (b *backoff) wait(ctx context.Context) error {
	b.next = max(b.first, min(b.last, 2*b.next))
	return pause(ctx, b.next)
}
