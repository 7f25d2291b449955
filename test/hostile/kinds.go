package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/test/hostile/forge"
	"github.com/rocketmq-connect/operator/test/hostile/forger"
	"github.com/rocketmq-connect/operator/test/hostile/requests"
	"github.com/rocketmq-connect/operator/worker/service"
)

// kind is one thing that is sent again and again.
type kind struct {
	target, name string
	times        int // in an hour
	// send sends the i-th one, and says how many that were.
	send func(ctx context.Context, i int) (int, error)

	sent, failed int
	last         error
	wrong        []error // answers that must not be
}

// send sends all kinds side by side, each evenly over the time.
func (s *scene) send(ctx context.Context) error {
	var group sync.WaitGroup
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, k := range s.kinds {
		if !strings.Contains(k.target+" "+k.name, s.only) {
			continue
		}
		group.Go(func() { k.run(ctx, s.lasts/time.Duration(k.times)) })
	}
	group.Go(func() {
		for end := time.Now().Add(s.lasts); time.Now().Before(end) && ctx.Err() == nil; {
			for _, m := range s.fleet.members {
				m.peak() // of one that is killed, this is the last that is known
			}
			if gone := s.fleet.ended(); len(gone) > 0 {
				cancel(fmt.Errorf("%w: %s", errEnded, strings.Join(gone, "\n")))
			}
			_ = service.Sleep(ctx, time.Second)
		}
	})
	group.Wait()
	return context.Cause(ctx)
}

// run sends one kind, the i-th one not before its time.
func (k *kind) run(ctx context.Context, every time.Duration) {
	for i, begun := 0, time.Now(); i < k.times && ctx.Err() == nil; i++ {
		if service.Sleep(ctx, time.Until(begun.Add(time.Duration(i)*every))) != nil {
			return
		}
		n, err := k.send(ctx, i)
		switch {
		case errors.Is(err, requests.ErrTaken):
			k.wrong = append(k.wrong, err)
		case err != nil:
			k.failed, k.last = k.failed+1, err
		default:
			k.sent += n
		}
	}
}

// often is how often each kind of records is sent to each topic in an hour; small ones are forge.SmallBatch each.
var often = map[string]int{
	"values at the edges": 300, "expire, claim, release, leave of what is not": 300, "snapshots of which parts never come": 200,
	"snapshots with damaged images": 70, "records of other versions": 100, "names of 512 KiB": 21, "bytes that are no record": 200,
	"records as large as the broker takes": 15, "small records": 20_000 / forge.SmallBatch, "values under the keys of others": 50,
}

func (s *scene) storeKinds() (out []*kind) {
	for _, store := range []string{forge.Config, forge.Position, forge.Offset, forge.Status} {
		topic := s.fleet.topic(store)
		for _, each := range forge.StoreKinds(store, map[bool]string{true: sinkName, false: sourceName}[store == forge.Offset]) {
			out = append(
				out,
				&kind{target: store + " topic", name: each.Name, times: often[each.Name], send: func(ctx context.Context, i int) (int, error) {
					return forger.Append(ctx, s.rocket, topic, each.Make(i))
				}},
			)
		}
	}
	for _, name := range []string{"cluster", forge.Config, forge.Position, forge.Offset, forge.Status} {
		out = append(
			out,
			&kind{target: name + " topic", name: "records without a value", times: 20, send: func(ctx context.Context, _ int) (int, error) {
				return 1, s.raw(ctx, s.fleet.topic(name), nil, "")
			}},
		)
	}
	return out
}

func forgedKinds(f *forger.Forger) (out []*kind) {
	for _, each := range forge.ClusterKinds() {
		out = append(
			out,
			&kind{target: "cluster topic", name: each.Name, times: often[each.Name], send: func(ctx context.Context, i int) (int, error) {
				return f.Send(ctx, each, i)
			}},
		)
	}
	return append(out, &kind{target: "cluster topic", name: "wrong digests, one session at a time", times: 100, send: f.WrongDigest})
}

// How often requests are sent in an hour.
const (
	heavyRequests = 30
	lightRequests = 600
	tokenRequests = 20_000
)

func (s *scene) requestKinds() (out []*kind) {
	for _, each := range requests.Kinds() {
		times := map[bool]int{true: heavyRequests, false: lightRequests}[strings.ContainsAny(each.Name[:1], "a1J5")]
		if strings.HasPrefix(each.Name, "no token") {
			times = tokenRequests
		}
		out = append(out, &kind{target: "REST", name: each.Name, times: times, send: func(ctx context.Context, i int) (int, error) {
			return 1, each.Send(ctx, s.worker(i), i)
		}})
	}
	for _, each := range requests.SlowKinds() {
		out = append(out, &kind{target: "REST", name: each.Name, times: 6, send: func(ctx context.Context, i int) (int, error) {
			held, err := each.Open(ctx, s.worker(i), []int{600, 2000}[i%2])
			if err == nil {
				err = service.Sleep(ctx, s.lasts/12)
			}
			n := held.Len()
			held.Close()
			return n, err
		}})
	}
	return out
}
