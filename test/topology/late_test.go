//go:build topology

package topology

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// A SYNC_MASTER whose slave is gone stores each batch and answers late that no slave has it. The batch waits for that
// answer, and is sent again ever more slowly: the queue holds few copies of each record.
func TestASlaveThatIsGoneCostsFewCopies(t *testing.T) {
	const records, watched = 20, 45 * time.Second
	r := newRig(t, "replicated", nameServers())
	topic := "late" + r.suffix
	queues, err := r.c.EnsureTopic(t.Context(), topic, rmq.TopicSpec{Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	settings, ok, err := r.c.Settings(t.Context(), queues[0])
	if err != nil || !ok || settings.Role != "SYNC_MASTER" {
		t.Skipf("for a topology that was brought up with --sync; the broker is %+v, %v", settings, err)
	}
	q, err := r.c.EnsureLogTopic(t.Context(), "late-log"+r.suffix, rmq.LogPlace{})
	if err != nil {
		t.Fatal(err)
	}
	numbers := numbered{confirmed: map[int]bool{}}
	var attempts []string
	s := r.c.NewSender(rmq.SenderConfig{OnBatch: func(n, _ int, took time.Duration, err error) {
		attempts = append(attempts, fmt.Sprintf("%d records after %s: %v", n, took.Round(10*time.Millisecond), err))
	}})
	defer s.Close()
	stack(t, "stop", "rocketmq-broker-a-slave")
	stopped := true
	defer func() {
		if stopped {
			stack(t, "start", "rocketmq-broker-a-slave")
		}
	}()
	begun := time.Now()
	_, err = r.c.Log(q).Append(t.Context(), rmq.Entry{Value: []byte("x")})
	t.Logf(
		"an append to a log: %v after %s (slaveTimeout %s, syncFlushTimeout %s)",
		err,
		time.Since(begun).Round(10*time.Millisecond),
		settings.SlaveTimeout,
		settings.SyncFlushTimeout,
	)
	if !errors.Is(err, rmq.ErrUnconfirmed) {
		t.Errorf("an append without a slave: %v", err)
	}
	for i := range records {
		if err := numbers.send(t.Context(), s, topic, i); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-time.After(watched):
	case <-t.Context().Done():
	}
	copies := r.copies(queues[0])
	most := 0
	for _, n := range copies {
		most = max(most, n)
	}
	t.Logf("without the slave for %s: %d records stored %d times at most", watched, len(copies), most)
	if most > 10 {
		t.Errorf("a record is stored %d times", most)
	}
	stack(t, "start", "rocketmq-broker-a-slave")
	stopped = false
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if !numbers.confirmed[i] {
			t.Errorf("record %d is not confirmed", i)
		}
	}
	if got := r.copies(queues[0]); len(got) != records {
		t.Errorf("%d records stored, want %d", len(got), records)
	}
	for _, a := range attempts {
		t.Log(a)
	}
}
