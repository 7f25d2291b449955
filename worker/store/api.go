package store

import (
	"context"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
	"time"
)

type State string

const (
	Running State = "Running"
	Paused  State = "Paused"
	Stopped State = "Stopped"
)

type Restart struct {
	ID   string
	Task int
}
type Connector struct {
	Name            string
	Config          map[string]string
	State           State
	Epoch, Revision int64
	Tasks           []map[string]string
	Deleted         bool
	Restart         Restart
	UpdatedAt       time.Time
}
type Write struct {
	Name       string
	Config     map[string]string
	State      State
	IfRevision int64
	RequestID  string
	Delete     bool
	Restart    *Restart
}
type ConflictError struct{ Current Connector }

func (e *ConflictError) Error() string { return "" }

type Stores struct{}

func Open(opts Options, client Client) (*Stores, error) { return nil, nil }
func (s *Stores) Services() []service.Service           { return nil }
func (s *Stores) Configs() *Configs                     { return nil }
func (s *Stores) Positions() *Progress                  { return nil }
func (s *Stores) Offsets() *Progress                    { return nil }
func (s *Stores) Statuses() *Statuses                   { return nil }

type Configs struct{}

func (c *Configs) Get(name string) (Connector, bool)                   { return Connector{}, false }
func (c *Configs) All() []Connector                                    { return nil }
func (c *Configs) Epoch(name string) int64                             { return 0 }
func (c *Configs) Put(ctx context.Context, w Write) (Connector, error) { return Connector{}, nil }
func (c *Configs) PublishTasks(ctx context.Context, name string, epoch int64, tasks []map[string]string) (Connector, error) {
	return Connector{}, nil
}
func (c *Configs) Watch() (<-chan struct{}, func()) { return nil, nil }

type Fence struct {
	Connector                  string
	Task                       int
	Generation, Epoch, Attempt int64
}
type Progress struct{}
type Writer struct{}

func (p *Progress) Fence(ctx context.Context, f Fence) (*Writer, error)     { return nil, nil }
func (p *Progress) Read(connector string) record.Positions                  { return nil }
func (p *Progress) Newest(connector string, task int) int64                 { return 0 }
func (w *Writer) Write(ctx context.Context, changed record.Positions) error { return nil }
func (w *Writer) Close()                                                    {}
func (p *Progress) Reset(ctx context.Context, connector string, to record.Positions, epoch int64) error {
	return nil
}
func (p *Progress) Watch() (<-chan struct{}, func()) { return nil, nil }

type Status struct {
	Connector                  string
	Task                       int
	State, Worker              string
	Generation, Epoch, Attempt int64
	Error                      string
	Restarts                   int
	NextRestart, At            time.Time
}
type Statuses struct{}

func (s *Statuses) Put(ctx context.Context, st Status) error      { return nil }
func (s *Statuses) Get(connector string, task int) (Status, bool) { return Status{}, false }
func (s *Statuses) All(connector string) []Status                 { return nil }
func (s *Statuses) Watch() (<-chan struct{}, func())              { return nil, nil }
