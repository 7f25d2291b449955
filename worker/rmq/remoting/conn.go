package remoting

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// ErrConnection means that no connection could be had, or that it broke before the answer: the request may have been
// carried out or not.
var ErrConnection = errors.New("connection failed")

// ErrSilent means that a connection broke before anything was read from it. It is an ErrConnection.
var ErrSilent = fmt.Errorf("%w before it carried an answer", ErrConnection)

// ErrNoAnswer means that the request's time ran out; its connection was reset.
var ErrNoAnswer = errors.New("no answer in time")

// pushTimeout bounds writing our answer to a request of the broker's.
const pushTimeout = time.Second

// conn is one connection with any number of requests on their way.
type conn struct {
	nc     net.Conn
	sign   *Credentials
	number int64
	// writing holds a token while a frame is written.
	writing chan struct{}
	done    chan struct{}

	mu      sync.Mutex
	pending map[int32]chan *Command
	opaque  int32
	err     error // why it is closed
}

func newConn(nc net.Conn, sign *Credentials) *conn {
	return &conn{
		nc: nc, sign: sign,
		writing: make(chan struct{}, 1), done: make(chan struct{}), pending: map[int32]chan *Command{},
	}
}

// fail closes the connection; everything pending returns at once.
func (c *conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.pending = nil
	close(c.done)
	c.nc.Close()
}

func (c *conn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) closed() bool { return c.failure() != nil }

// call sends req and waits for its answer. head is where the header is built; it is returned for the next call.
func (c *conn) call(ctx context.Context, req *Command, head []byte) (*Command, []byte, error) {
	answer := make(chan *Command, 1)
	if err := c.register(req, answer); err != nil {
		return nil, head, err
	}
	c.sign.sign(req)
	head = req.AppendHead(head[:0])
	some, err := c.write(ctx, head, req.Body)
	if some {
		req.Written = time.Now()
	}
	if err != nil {
		c.giveUp(ctx, req, err)
		return nil, head, err
	}
	resp, err := c.await(ctx, req, answer)
	return resp, head, err
}

// await waits for the answer to a request that was written.
func (c *conn) await(ctx context.Context, req *Command, answer <-chan *Command) (*Command, error) {
	longer, more := ctx, true
	if req.Longer != nil {
		longer, more = req.Longer()
	}
	for more {
		select {
		case resp := <-answer:
			return resp, nil
		case <-c.done:
			return answered(answer, c.failure())
		case <-longer.Done():
			ctx, more = longer, false
			if req.Longer != nil && timedOut(longer) {
				longer, more = req.Longer()
			}
		}
	}
	if resp, err := answered(answer, nil); resp != nil {
		return resp, err
	}
	err := waitError(ctx)
	c.giveUp(ctx, req, err)
	return nil, err
}

// answered gives the answer if it is there, or else the error.
func answered(answer <-chan *Command, err error) (*Command, error) {
	select {
	case resp := <-answer:
		return resp, nil
	default:
		return nil, err
	}
}

func (c *conn) register(req *Command, answer chan *Command) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.opaque++
	req.Opaque = c.opaque
	c.pending[req.Opaque] = answer
	return nil
}

// giveUp forgets a request. Bytes of it may lie in a buffer on the way: when they must not arrive later, or the peer is
// stalled anyway, the connection is reset. Invariant C2: nothing is delivered after its lease by a lingering socket.
func (c *conn) giveUp(ctx context.Context, req *Command, err error) {
	if req.Reset || timedOut(ctx) && !req.Spared {
		c.fail(fmt.Errorf("%w: reset after a request without answer: %w", ErrConnection, err))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, req.Opaque)
}

func timedOut(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), context.DeadlineExceeded)
}

// waitError is the context's cause, or ErrNoAnswer when its time ran out.
func waitError(ctx context.Context) error {
	if timedOut(ctx) {
		return ErrNoAnswer
	}
	return context.Cause(ctx)
}

// write sends one frame, and says whether some bytes of it may be on their way: none are if it came too late to begin,
// as after a freeze of the process. A frame that is cut off leaves the stream unusable, so any failure closes the
// connection.
func (c *conn) write(ctx context.Context, head, body []byte) (some bool, err error) {
	select {
	case c.writing <- struct{}{}:
	case <-ctx.Done():
		return false, waitError(ctx)
	case <-c.done:
		return false, c.failure()
	}
	defer func() { <-c.writing }()
	if ctx.Err() != nil {
		return false, waitError(ctx)
	}
	deadline, _ := ctx.Deadline()
	if err := c.nc.SetWriteDeadline(deadline); err != nil {
		return false, c.broken(err)
	}
	stop := context.AfterFunc(ctx, func() { c.fail(fmt.Errorf("%w: %w", ErrConnection, waitError(ctx))) })
	buffers := net.Buffers{head, body}
	if len(body) == 0 {
		buffers = buffers[:1]
	}
	n, err := buffers.WriteTo(c.nc)
	if !stop() && ctx.Err() != nil {
		return n > 0, waitError(ctx)
	}
	if err != nil {
		return n > 0, c.broken(err)
	}
	return true, nil
}

func (c *conn) broken(err error) error {
	c.fail(fmt.Errorf("%w: %w", ErrConnection, err))
	return c.failure()
}

// read hands out answers until the connection ends.
func (c *conn) read() {
	r := bufio.NewReader(c.nc) // small: it is for small frames, and what is large passes it by
	for broken := ErrSilent; ; broken = ErrConnection {
		cmd, err := ReadFrame(r)
		if err != nil {
			c.fail(fmt.Errorf("%w: %w", broken, err))
			return
		}
		if cmd.Flag&FlagResponse == 0 {
			c.pushed(cmd)
			continue
		}
		c.mu.Lock()
		answer := c.pending[cmd.Opaque]
		delete(c.pending, cmd.Opaque)
		c.mu.Unlock()
		if answer != nil {
			answer <- cmd
		}
	}
}

// pushed answers a request of the broker's. We register nowhere, so none of them concerns us.
func (c *conn) pushed(cmd *Command) {
	if cmd.Flag&FlagOneWay != 0 || cmd.Code == NotifyConsumerIDs {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), pushTimeout)
	defer cancel()
	refusal := &Command{Code: CodeNotSupported, Flag: FlagResponse, Opaque: cmd.Opaque, Remark: "not supported by this client"}
	if _, err := c.write(ctx, refusal.AppendHead(nil), nil); err != nil {
		c.fail(fmt.Errorf("%w: answering a push: %w", ErrConnection, err))
	}
}
