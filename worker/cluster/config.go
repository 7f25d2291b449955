package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Config configures a Cluster.
type Config struct {
	// WorkerID is unique in the cluster and stable over restarts. Address is where others reach this worker's REST
	// server; Version is this build's. Both are for people to read.
	WorkerID, Address, Version string
	// ClusterID is the cluster's: workers with another one on the same log are refused.
	ClusterID string
	// Stores names the topics of the stores: workers with others on the same log are refused. Empty compares nothing.
	Stores string
	// StoreDir is locked for the life of the process; empty locks nothing and proves nothing after a restart.
	StoreDir string
	// HeartbeatInterval is 500 ms if zero, SessionTimeout 5 s, SendTimeout 2 s.
	HeartbeatInterval, SessionTimeout, SendTimeout time.Duration
	// RebalanceDelay is how long the units of this worker stay its own after it has left. 0: they move at once.
	RebalanceDelay time.Duration
	// Allocation counts for all while this worker is the oldest member.
	Allocation allocate.Params
	Log        logr.Logger
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// Clock is SystemClock if nil. Leases are measured with it.
	Clock Clock
}

// Log is what the cluster needs of *rmq.Log.
type Log interface {
	Append(ctx context.Context, entries ...rmq.Entry) (first int64, err error)
	Bounds(ctx context.Context) (minOffset, maxOffset int64, err error)
	Read(ctx context.Context, from int64, fn func(rmq.Entry) error) (next int64, err error)
	Follow(ctx context.Context, from, known int64, fn func(rmq.Entry) error) error
}

func (c Config) withDefaults() Config {
	if c.HeartbeatInterval == 0 {
		c.HeartbeatInterval = 500 * time.Millisecond
	}
	if c.SessionTimeout == 0 {
		c.SessionTimeout = 5 * time.Second
	}
	if c.SendTimeout == 0 {
		c.SendTimeout = 2 * time.Second
	}
	if c.Clock == nil {
		c.Clock = SystemClock
	}
	if c.Log.GetSink() == nil {
		c.Log = logr.Discard()
	}
	return c
}

func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.WorkerID != "", "workerId: must not be empty")
	check(c.HeartbeatInterval >= 10*time.Millisecond, "heartbeatInterval: %v is below 10ms", c.HeartbeatInterval)
	check(c.SendTimeout > 0, "sendTimeout: %v is not above 0", c.SendTimeout)
	check(c.SessionTimeout <= 24*time.Hour, "sessionTimeout: %v is above 24h", c.SessionTimeout)
	check(c.RebalanceDelay >= 0 && c.RebalanceDelay <= 24*time.Hour, "rebalanceDelay: %v is not between 0 and 24h", c.RebalanceDelay)
	// The gate opens for a batch only while the lease has a send time-out left, and heartbeats renew it at intervals.
	check(c.SessionTimeout/10*9 > c.SendTimeout+c.HeartbeatInterval,
		"sessionTimeout: nine tenths of %v must be more than sendTimeout %v and heartbeatInterval %v together, or nothing could be sent",
		c.SessionTimeout, c.SendTimeout, c.HeartbeatInterval)
	_, err := allocate.ParseStrategy(c.Allocation.Strategy)
	check(err == nil, "allocTaskStrategy: %w", err)
	factor := c.Allocation.MaxLoadFactor
	check(factor == 0 || factor >= 1 && !math.IsInf(factor, 0), "maxLoadFactor: %v is neither 0 nor at least 1", factor)
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("checking cluster settings: %w", errors.Join(errs...))
}

func (c Config) terms() fold.Terms {
	p := c.Allocation
	p.Strategy, _ = allocate.ParseStrategy(p.Strategy) // validate has looked
	return fold.Terms{
		Fold: fold.Version, TimeoutMS: c.SessionTimeout.Milliseconds(), IntervalMS: c.HeartbeatInterval.Milliseconds(),
		RebalanceDelayMS: c.RebalanceDelay.Milliseconds(), Allocation: p,
	}
}
