// Package store holds what the workers share beyond membership: connector configs, source positions, sink offsets and
// statuses. Each is a fold over one ordered, compacted topic (keyedlog), so every worker holds the same values, and a
// copy in local files restores a topic that was lost.
package store

import (
	"context"
	"errors"

	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

var (
	// ErrFenced means that an equal or newer owner, attempt or epoch has written: the caller must stop what it does.
	ErrFenced = errors.New("fenced by a newer owner")
	// ErrNotFound means that a write which needs an existing connector met none.
	ErrNotFound = errors.New("connector not found")
	// ErrInvalid means that what was to be stored can never be stored; the wrapping error says why.
	ErrInvalid = errors.New("invalid value")
)

// Client opens the topics. RocketMQ makes one of a *rmq.Client.
type Client interface {
	// OpenLog makes sure that the topic exists with exactly one queue on one broker ("" is the first by name), compacted
	// where the broker knows that, and gives its log.
	OpenLog(ctx context.Context, topic, broker string) (keyedlog.Log, error)
}

// RocketMQ is the Client of a real cluster.
func RocketMQ(c *rmq.Client) Client { return rocketMQ{c} }

type rocketMQ struct{ client *rmq.Client }

// OpenLog looks for the topic first and creates it with compaction if there is none.
func (r rocketMQ) OpenLog(ctx context.Context, topic, broker string) (keyedlog.Log, error) {
	q, err := r.client.EnsureLogTopic(ctx, topic, broker, true)
	if err != nil {
		return nil, err
	}
	return r.client.Log(q), nil
}

// Topics names the four topics; all are required.
type Topics struct{ Config, Position, Offset, Status string }

// Options says where the stores live.
type Options struct {
	// ClusterID is written into the local files: files of another cluster are never restored.
	ClusterID string
	Topics    Topics
	// Broker names the broker of the topics; "" takes the first by name.
	Broker string
	// Dir is <storePathRootDir>/config. It is made with mode 0700. "" keeps no files.
	Dir string
	// FlushInterval is how often changed values go to the local files; 0 means 5 s.
	FlushInterval time.Duration
	// IsOldest says whether this worker is the view's oldest member, which re-publishes values that a refused record
	// hides from compaction. Nil means yes.
	IsOldest   func() bool
	Log        logr.Logger
	Registerer prometheus.Registerer
}
