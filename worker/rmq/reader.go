package rmq

import "context"

// ReaderConfig bounds a Reader.
type ReaderConfig struct {
	Group            string
	MaxBufferedBytes int /* 16 MiB */
	PullsAhead       int /* 2 */
}

// Reader pulls assigned queues ahead.
type Reader struct{}

func (c *Client) NewReader(cfg ReaderConfig) *Reader { return &Reader{} }

func (r *Reader) Assign(offsets map[Queue]int64)                        {}
func (r *Reader) Poll(ctx context.Context, max int) ([]Received, error) { return nil, ErrClosed }
func (r *Reader) Pause(queues ...Queue)                                 {}
func (r *Reader) Resume(queues ...Queue)                                {}
func (r *Reader) Lag() map[Queue]int64                                  { return nil }
func (r *Reader) Close() error                                          { return nil }
