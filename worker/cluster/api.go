// Package cluster tells a worker who is alive and who owns what, through one ordered log. The decisions are made by a pure
// fold over that log (package fold) and a pure member machine (package member); here is the loop that feeds them.
package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Unit is a connector or one of its tasks.
type Unit = allocate.Unit

// Owner is who owns a unit: a session, never a worker id.
type Owner struct{ Session, Generation, Epoch int64 }

// Member is a live session.
type Member struct {
	Session                  int64
	Worker, Address, Version string
	// Eligible is false while the member flaps: it keeps what it owns, and should be given nothing new.
	Eligible bool
}

// View is what the log says up to Offset. It is immutable: callers must not modify its maps and slices.
type View struct {
	Joined     bool
	Self       int64
	Offset     int64
	Members    []Member
	Owners     map[Unit]Owner
	Floors     map[string]int64
	Allocation allocate.Params
}

// Config configures a Cluster.
type Config struct {
	WorkerID, Address, Version                                     string
	StoreDir                                                       string
	HeartbeatInterval, SessionTimeout, SendTimeout, RebalanceDelay time.Duration
	Allocation                                                     allocate.Params
	Log                                                            logr.Logger
	Registerer                                                     prometheus.Registerer
}

// Log is what the cluster needs of *rmq.Log.
type Log interface {
	Append(ctx context.Context, entries ...rmq.Entry) (first int64, err error)
	Bounds(ctx context.Context) (minOffset, maxOffset int64, err error)
	Read(ctx context.Context, from int64, fn func(rmq.Entry) error) (next int64, err error)
	Tail(ctx context.Context, from int64, fn func(rmq.Entry) error) error
}

// Cluster is a worker's part in the cluster.
type Cluster struct{}

// New checks cfg.
func New(cfg Config, open func(ctx context.Context) (Log, error)) (*Cluster, error) {
	return &Cluster{}, nil
}

// Service returns the service.
func (c *Cluster) Service() service.Service { return service.Service{Name: "cluster"} }

// View returns the newest view.
func (c *Cluster) View() View { return View{} }

// Watch returns a channel with room for one notification that the view changed.
func (c *Cluster) Watch() (changed <-chan struct{}, stop func()) { return nil, func() {} }

// ClaimRequest asks for a unit at an epoch of its connector; Above is the highest generation of it that is known.
type ClaimRequest struct {
	Unit         Unit
	Epoch, Above int64
}

// Grant is one ownership of a unit.
type Grant struct {
	Unit              Unit
	Generation, Epoch int64
}

// Claim asks for units.
func (c *Cluster) Claim(ctx context.Context, reqs []ClaimRequest) ([]Grant, error) { return nil, nil }

// Release gives units back.
func (c *Cluster) Release(ctx context.Context, grants []Grant) error { return nil }

// Gate returns the gate of a grant.
func (c *Cluster) Gate(g Grant) *Gate { return &Gate{} }

// Gate lets a delivery through while its grant and the lease hold.
type Gate struct{}

// Wait blocks while the lease is shut for need.
func (g *Gate) Wait(ctx context.Context, need time.Duration) error { return nil }

// Context ends when the lease does.
func (g *Gate) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(parent)
}

var (
	// ErrNotOwner means the grant was released, or lost with its session.
	ErrNotOwner = errors.New("unit is not owned any more")
	// ErrLeaseOver means no heartbeat came back in time.
	ErrLeaseOver = errors.New("lease is over")
)

// Now is the time of CLOCK_BOOTTIME.
func Now() time.Duration { return 0 }
