package rmq

import (
	"context"
	"time"
)

// SenderConfig bounds a Sender.
type SenderConfig struct {
	Gate             func(ctx context.Context) error
	MaxBatchRecords  int
	MaxBatchBytes    int
	MaxBufferedBytes int
	OnBatch          func(records, bytes int, took time.Duration, err error)
}
type Sender struct{}

func (c *Client) NewSender(cfg SenderConfig) *Sender { return &Sender{} }
func (s *Sender) Send(ctx context.Context, m Message, done func(offset int64, err error)) error {
	return ErrClosed
}
func (s *Sender) Flush(ctx context.Context) error { return ErrClosed }
func (s *Sender) Close() error                    { return nil }
