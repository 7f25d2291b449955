package watch

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

const (
	// hold is how long a broker holds a request without news. Neither news nor the end of a wait waits for it.
	hold = 5 * time.Second
	// answerBytes and partitionBytes bound answers: a record of them is enough to know that there is one.
	answerBytes, partitionBytes = 1 << 20, 32 << 10
	// unfoldedBytes bounds what a compressed batch may take unfolded: of one that takes more it is only known that it is
	// there.
	unfoldedBytes = 4 << 20
	// fetchVersion is the newest that names topics by name.
	fetchVersion = 12
	fetchKey     = int16(kmsg.Fetch)
)

// Options are what a Hub's client has to be made with: the versions of requests that it may use, and what it may
// unfold.
func Options() []kgo.Opt {
	v := kversion.Stable()
	v.SetMaxKeyVersion(fetchKey, fetchVersion)
	return []kgo.Opt{kgo.MaxVersions(v), kgo.MaxDecompressBatchBytes(unfoldedBytes)}
}

// fetcher has a broker tell of the partitions that it leads.
type fetcher struct {
	h      *Hub
	broker int32
	wake   chan struct{} // capacity 1

	// stop ends the request under way; nil while there is none. Guarded by h.mu.
	stop context.CancelFunc
}

// again has the fetcher ask again: what is under way does not know all spots. h.mu is held.
func (f *fetcher) again() {
	if f.stop != nil {
		f.stop()
	}
	service.Signal(f.wake)
}

func (f *fetcher) run() {
	var pause backoff.Doubling
	for {
		select {
		case <-f.wake:
		case <-f.h.ctx.Done():
			return
		}
		if service.Sleep(f.h.ctx, gather) != nil {
			return
		}
		for {
			asked, ctx := f.begin()
			if len(asked) == 0 {
				break
			}
			resp, err := f.h.link.Client.Broker(int(f.broker)).Request(ctx, f.request(asked))
			if interrupted := f.finish(ctx); interrupted {
				break
			}
			answer, ok := resp.(*kmsg.FetchResponse)
			if err == nil && ok && answer.ErrorCode == 0 {
				pause.Reset()
				f.take(asked, answer)
				continue
			}
			f.lost(asked)
			if service.Sleep(f.h.ctx, pause.Next(firstPause, longestPause)) != nil {
				return
			}
		}
	}
}

// begin lists what to ask for, and from which offset.
func (f *fetcher) begin() (map[Partition]int64, context.Context) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	asked := make(map[Partition]int64)
	for p, s := range f.h.spots {
		if s.leader == f.broker {
			asked[p] = s.from(p)
		}
	}
	ctx, stop := context.WithCancel(f.h.ctx)
	if len(asked) == 0 {
		stop()
		return nil, nil
	}
	f.stop = stop
	return asked, ctx
}

// finish says whether the request was ended because somebody came.
func (f *fetcher) finish(ctx context.Context) (interrupted bool) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	interrupted = ctx.Err() != nil
	f.stop()
	f.stop = nil
	return interrupted
}

func (f *fetcher) request(asked map[Partition]int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(hold.Milliseconds()), 1, answerBytes
	if f.h.link.Committed {
		req.IsolationLevel = 1
	}
	at := make(map[string]int)
	for p, offset := range asked {
		i, known := at[p.Topic]
		if !known {
			i = len(req.Topics)
			at[p.Topic] = i
			topic := kmsg.NewFetchRequestTopic()
			topic.Topic = p.Topic
			req.Topics = append(req.Topics, topic)
		}
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p.Number, offset, partitionBytes
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, part)
	}
	return req
}

// Probe asks a leader once whether a partition may be read at an offset.
func (h *Hub) Probe(ctx context.Context, p Partition, offset int64) error {
	h.mu.Lock()
	leader, known := h.leaders[p]
	h.mu.Unlock()
	if !known {
		return kerr.LeaderNotAvailable
	}
	req := (&fetcher{h: h}).request(map[Partition]int64{p: offset})
	req.MaxWaitMillis = 0
	resp, err := h.link.Client.Broker(int(leader)).Request(ctx, req)
	if err != nil {
		return err
	}
	answer, ok := resp.(*kmsg.FetchResponse)
	if !ok || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return kerr.UnknownServerError
	}
	return kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
}

// take deals with an answer.
func (f *fetcher) take(asked map[Partition]int64, answer *kmsg.FetchResponse) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	for i := range answer.Topics {
		for j := range answer.Topics[i].Partitions {
			part := &answer.Topics[i].Partitions[j]
			p := Partition{answer.Topics[i].Topic, part.Partition}
			if offset, ok := asked[p]; ok && f.h.spots[p] != nil {
				f.takePartition(p, offset, part)
			}
		}
	}
}

func (f *fetcher) takePartition(p Partition, asked int64, part *kmsg.FetchResponseTopicPartition) {
	s := f.h.spots[p]
	switch err := kerr.ErrorForCode(part.ErrorCode); {
	case err == nil && len(part.RecordBatches) == 0:
		return
	case kerr.IsRetriable(err) && !errors.Is(err, kerr.UnknownTopicOrPartition):
		f.h.unsettle(p, s)
		return
	case err != nil:
		for w := range s.waiters {
			f.h.wake(w)
		}
		return
	}
	last, next := f.read(p, asked, part)
	for w := range s.waiters {
		switch from := w.from[p]; {
		case last >= from, next <= asked: // or something is there that cannot be read in small pieces
			f.h.wake(w)
		case next > from && from >= asked: // what lies below was not asked for: somebody came meanwhile, and is asked for next
			w.from[p] = next
		}
	}
}

// read finds the last record for users, -1 if there is none, and the offset after all that was read.
func (f *fetcher) read(p Partition, asked int64, part *kmsg.FetchResponseTopicPartition) (last, next int64) {
	isolation := kgo.ReadUncommitted()
	if f.h.link.Committed {
		isolation = kgo.ReadCommitted()
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic: p.Topic, Partition: p.Number, Offset: asked, IsolationLevel: isolation,
	}, part, f.h.unfold, nil)
	if got.Err != nil {
		return -1, asked
	}
	if n := len(got.Records); n > 0 {
		return got.Records[n-1].Offset, next
	}
	return -1, next
}

// lost has all leaders that were asked for looked up again.
func (f *fetcher) lost(asked map[Partition]int64) {
	f.h.mu.Lock()
	defer f.h.mu.Unlock()
	for p := range asked {
		if s := f.h.spots[p]; s != nil && s.leader == f.broker {
			f.h.unsettle(p, s)
		}
	}
}

// unsettle forgets a leader that is none any more. h.mu is held.
func (h *Hub) unsettle(p Partition, s *spot) {
	delete(h.leaders, p)
	s.leader = -1
	service.Signal(h.unplaced)
}
