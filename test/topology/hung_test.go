//go:build topology

package topology

import (
	"context"
	"errors"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// A master hangs, and the controller makes another broker the master, under the same name at another address. Parked
// pulls and batches on their way find it as soon as a new append does. The former master comes back, and nothing is
// lost by that.
func TestAHungMasterHoldsNothingUp(t *testing.T) {
	r := newRig(t, "controller", nameServers())
	q, err := r.c.EnsureLogTopic(t.Context(), "hung-log"+r.suffix, rmq.LogPlace{})
	if err != nil {
		t.Fatal(err)
	}
	topic := "hung" + r.suffix
	queues, err := r.c.EnsureTopic(t.Context(), topic, rmq.TopicSpec{Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	l := r.c.Log(q)
	if _, err := l.Append(t.Context(), rmq.Entry{Value: []byte("before")}); err != nil {
		t.Fatal(err)
	}
	pump := r.pump(topic, queues[0])
	defer pump.stop()
	pump.awaitRead(50)

	p := pair{admin: newAdmin(t), broker: queues[0].Broker}
	pid := pidOf(t, p.processOf(t, p.whole(t, []string{topic})))
	thaw := func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer thaw()
	frozen := time.Now()
	sentBefore := pump.sent()
	eventually(t, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_, err := l.Append(ctx, rmq.Entry{Value: []byte("after")})
		return err
	})
	logBack := time.Since(frozen)
	pump.awaitRead(sentBefore + 1)
	recordsBack := time.Since(frozen)
	t.Logf(
		"after the freeze of the master: the log took records after %s, records were read after %s, %s later",
		logBack.Round(10*time.Millisecond),
		recordsBack.Round(10*time.Millisecond),
		(recordsBack - logBack).Round(10*time.Millisecond),
	)

	thaw()
	mark := pump.sent()
	pump.awaitRead(mark + 200) // 20 s with the former master back
	pump.stop()
	copies := r.copies(queues[0])
	lost := 0
	for i, ok := range pump.numbers.confirmed {
		switch {
		case !ok || copies[i] > 0:
		case i < sentBefore: // asynchronous replication may lose what was confirmed before
			lost++
		default:
			t.Errorf("record %d, confirmed by the new master, is lost", i)
		}
	}
	t.Logf("%d records sent, %d confirmed ones lost by replication, %d copies in all", pump.sent(), lost, total(copies))
}

func total(copies map[int]int) (n int) {
	for _, c := range copies {
		n += c
	}
	return n
}

// pump sends ten records a second to a queue and reads them.
type pump struct {
	r       *rig
	numbers numbered
	next    chan int // the highest number read, newest
	count   chan int
	stop    func()
}

func (r *rig) pump(topic string, q rmq.Queue) *pump {
	p := &pump{r: r, numbers: numbered{confirmed: map[int]bool{}}, next: make(chan int, 1), count: make(chan int, 1)}
	ctx, cancel := context.WithCancel(r.Context())
	s, reader := r.c.NewSender(rmq.SenderConfig{}), r.c.NewReader(rmq.ReaderConfig{Group: "topology"})
	reader.Assign(map[rmq.Queue]int64{q: -1})
	var group service.Group
	group.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ctx.Err() == nil; i++ {
			if err := p.numbers.send(ctx, s, topic, i); err != nil && ctx.Err() == nil {
				r.Errorf("sending record %d: %v", i, err)
			}
			newest(p.count, i+1)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	group.Go(func() {
		highest := -1
		for ctx.Err() == nil {
			got, err := reader.Poll(ctx, 100)
			if err != nil && !errors.Is(err, rmq.ErrTopicNotFound) && ctx.Err() == nil {
				r.Errorf("reading: %v", err)
				return
			}
			for _, m := range got {
				if i, err := strconv.Atoi(string(m.Body)); err == nil {
					highest = max(highest, i)
				}
			}
			newest(p.next, highest)
		}
	})
	stopped := false
	p.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		flushing, done := context.WithTimeout(context.Background(), time.Minute)
		defer done()
		if err := s.Flush(flushing); err != nil {
			r.Errorf("flushing: %v", err)
		}
		group.Wait()
		_, _ = s.Close(), reader.Close()
	}
	return p
}

// newest keeps the newest value in a channel of one.
func newest(c chan int, v int) {
	select {
	case <-c:
	default:
	}
	select {
	case c <- v:
	default:
	}
}

func (p *pump) sent() int {
	n := <-p.count
	newest(p.count, n)
	return n
}

// awaitRead waits until a record was read that is not below n.
func (p *pump) awaitRead(n int) {
	p.r.Helper()
	deadline := time.After(3 * time.Minute)
	for {
		select {
		case highest := <-p.next:
			if highest >= n {
				return
			}
		case <-deadline:
			p.r.Fatalf("record %d was not read within three minutes", n)
		}
	}
}
