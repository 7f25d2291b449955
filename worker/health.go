package worker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/store"
)

// readiness is why the worker is not ready, if it is not; more adds what is known by the time that somebody asks.
type readiness struct {
	mu   sync.Mutex
	why  error
	more func() []string
}

func (r *readiness) set(why error, more func() []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why, r.more = why, more
}

func (r *readiness) err() error {
	r.mu.Lock()
	why, more := r.why, r.more
	r.mu.Unlock()
	if why == nil || more == nil {
		return why
	}
	if found := more(); len(found) > 0 {
		return fmt.Errorf("%w: %s", why, strings.Join(found, "; "))
	}
	return why
}

// readyErr returns nil while the worker is a live member with its stores read.
func (p *parts) readyErr() error {
	if err := p.ready.err(); err != nil {
		return err
	}
	if p.cluster.View().Joined {
		return nil
	}
	return errors.New(strings.Join(append([]string{"the session in the cluster is over; joining again"}, p.clusterTrouble()...), ": "))
}

// leasedErr returns nil while RocketMQ brings this worker's heartbeats back.
func (p *parts) leasedErr() error {
	since, lapsed := p.cluster.Lapsed()
	if !lapsed {
		return nil
	}
	if since.IsZero() {
		return errors.New("RocketMQ has not brought back a heartbeat of this session yet")
	}
	why := "topic " + p.cfg.Topics.Cluster + " shows no failure: its broker is slow, or this worker was stopped for a while"
	if found := p.clusterTrouble(); len(found) > 0 {
		why = found[0]
	}
	return fmt.Errorf(
		"RocketMQ has not brought back a heartbeat sent after %s: %s: no task delivers anything until it takes records again",
		stamp(since),
		why,
	)
}

// disputedErr returns nil unless as many workers make something else of the cluster log than this one as make the same.
func (p *parts) disputedErr() error {
	d, disputed := p.cluster.Disputed()
	if !disputed {
		return nil
	}
	return fmt.Errorf(
		"%sup to offset %d worker %s has digest %s, this one (%s) %s, and as many workers agree with the one as with the other: "+
			"no task is started that does not run already; start one more worker, which tells who is wrong, or restart the worker that is",
		restapi.LogDisputed,
		d.Offset,
		d.Worker,
		d.Theirs,
		p.cfg.WorkerID,
		d.Mine,
	)
}

// clusterTrouble says what keeps the cluster log from being written or read, if anything is known.
func (p *parts) clusterTrouble() (out []string) {
	if t, ok := p.cluster.Trouble(); ok {
		out = append(out, "topic "+p.cfg.Topics.Cluster+": "+told(t))
	}
	return append(out, p.client.DeniedLogTopics()...)
}

// storesTrouble says what keeps each store from being read.
func (p *parts) storesTrouble() []string {
	var out []string
	for _, g := range grouped(p.stores.Troubles()) {
		out = append(out, g.topics()+": "+told(g[0].Trouble))
	}
	return out
}

// storedErr returns nil while the stores take records; what lasts no longer than a session is no matter.
func (p *parts) storedErr() error {
	_, lapsed := p.cluster.Lapsed()
	return unstored(p.stores.Troubles(), time.Now().Add(-p.cfg.SessionTimeout), !lapsed)
}

// unstored is an error if stores take nothing, or cannot be read, since before a time. flows says that records do all
// the same.
func unstored(troubles []store.Trouble, before time.Time, flows bool) error {
	lasting := slices.DeleteFunc(slices.Clone(troubles), func(t store.Trouble) bool { return !t.Since.Before(before) })
	if len(lasting) == 0 {
		return nil
	}
	var found, meaning []string
	for _, g := range grouped(lasting) {
		found = append(found, fmt.Sprintf("%s since %s: %s", g.topics(), stamp(g[0].Since), told(g[0].Trouble)))
	}
	for _, t := range lasting {
		switch t.Store {
		case "position", "offset":
			if flows {
				meaning = append(meaning, "records go on flowing, but those since then are delivered again if their worker dies")
			} else {
				meaning = append(meaning, "no records flow until the broker of the cluster topic takes heartbeats again")
			}
		case "config":
			meaning = append(meaning, "changes of connectors answer 504")
		default:
			meaning = append(meaning, "the states that are shown may be old")
		}
	}
	slices.Sort(meaning)
	return fmt.Errorf("%s%s: %s", restapi.StoresNotWritten, strings.Join(found, "; "), strings.Join(slices.Compact(meaning), "; "))
}

// alike are stores that fail in one way.
type alike []store.Trouble

func (a alike) topics() string {
	var names []string
	for _, t := range a {
		names = append(names, t.Topic)
	}
	if len(names) == 1 {
		return "topic " + names[0]
	}
	return "topics " + strings.Join(names, ", ")
}

// grouped puts stores that fail in one way together, so that one broker is told of once.
func grouped(troubles []store.Trouble) []alike {
	var out []alike
	for _, t := range troubles {
		i := slices.IndexFunc(out, func(a alike) bool { return cause(a[0].Err) == cause(t.Err) })
		if i < 0 {
			out = append(out, alike{t})
			continue
		}
		out[i] = append(out[i], t)
		out[i][0].Trouble = earliest(out[i][0].Trouble, t.Trouble)
	}
	return out
}

func earliest(a, b rmq.Trouble) rmq.Trouble {
	if b.Since.Before(a.Since) {
		a.Since = b.Since
	}
	if b.Alike.Before(a.Alike) {
		a.Alike = b.Alike
	}
	return a
}

// told says who failed how, and since when.
func told(t rmq.Trouble) string {
	var answer *rmq.BrokerError
	if errors.As(t.Err, &answer) && answer.Broker != "" {
		return fmt.Sprintf("broker %s at %s answers since %s: %s", answer.Broker, answer.Addr, stamp(t.Alike), answer.Answer())
	}
	return fmt.Sprintf("%s, since %s", cause(t.Err), stamp(t.Alike))
}

// cause is an error without the request that met it, if it is one of a broker: requests differ from topic to topic.
func cause(err error) string {
	var answer *rmq.BrokerError
	var away *rmq.AwayError
	switch {
	case errors.As(err, &answer) && answer.Broker != "":
		return answer.Broker + " " + answer.Addr + " " + answer.Answer()
	case errors.As(err, &away) && away.Broker != "":
		return away.Error()
	}
	return err.Error()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
