package remoting

import (
	"context"
	"fmt"
	"net"
	"time"
)

// How soon a peer that vanished is noticed by a connection that only waits.
const (
	keepAliveIdle     = 5 * time.Second
	keepAliveInterval = 2 * time.Second
	keepAliveCount    = 3
)

// TCP returns a dialer whose connections drop what is unsent when closed (SO_LINGER 0) and, where the system can, give
// up when sent bytes stay unacknowledged for userTimeout. Invariant C2: nothing lingers in a socket buffer.
func TCP(userTimeout time.Duration) Dialer {
	d := net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAliveIdle, Interval: keepAliveInterval, Count: keepAliveCount,
		},
		Control: userTimeoutControl(userTimeout),
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			if err := tcp.SetLinger(0); err != nil {
				c.Close()
				return nil, fmt.Errorf("setting SO_LINGER: %w", err)
			}
		}
		return c, nil
	}
}
