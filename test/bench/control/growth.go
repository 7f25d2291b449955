package control

import (
	"context"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// growth is what an internal topic got in a while.
type growth struct {
	topic          string
	records, bytes int64
	// kinds are the bytes by the record's key, in the cluster topic.
	kinds map[string]int64
}

// ends are the ends of the internal topics, in the order of process.InternalTopics.
func ends(ctx context.Context, c *rmq.Client, cluster string) ([]int64, error) {
	var out []int64
	for _, topic := range process.InternalTopics(cluster) {
		log, err := open(ctx, c, topic)
		if err != nil {
			return nil, err
		}
		_, end, err := log.Bounds(ctx)
		if err != nil {
			return nil, fmt.Errorf("asking for the end of %s: %w", topic, err)
		}
		out = append(out, end)
	}
	return out, nil
}

// grown reads what the internal topics got since they ended there.
func grown(ctx context.Context, c *rmq.Client, cluster string, from []int64) ([]growth, error) {
	var out []growth
	for i, topic := range process.InternalTopics(cluster) {
		g := growth{topic: topic[len(cluster)+1:], kinds: map[string]int64{}}
		log, err := open(ctx, c, topic)
		if err != nil {
			return nil, err
		}
		_, err = log.Read(ctx, from[i], func(e rmq.Entry) error {
			g.records++
			g.bytes += int64(len(e.Key) + len(e.Value))
			g.kinds[e.Key] += int64(len(e.Key) + len(e.Value))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", topic, err)
		}
		out = append(out, g)
	}
	return out, nil
}

func open(ctx context.Context, c *rmq.Client, topic string) (*rmq.Log, error) {
	q, err := c.EnsureLogTopic(ctx, topic, rmq.LogPlace{})
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", topic, err)
	}
	return c.Log(q), nil
}

// perHour is a count of the span, for an hour.
func perHour(n int64, span time.Duration) float64 { return float64(n) / span.Hours() }
