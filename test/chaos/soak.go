package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/metrics"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// sampleEvery is how often a soak looks.
const sampleEvery = time.Minute

// series is one figure over time.
type series struct {
	name   string
	hours  []float64
	values []float64
}

// slope is the least-squares growth per hour.
func (s *series) slope() float64 {
	n := float64(len(s.hours))
	var x, y, xx, xy float64
	for i, h := range s.hours {
		v := s.values[i]
		x, y, xx, xy = x+h, y+v, xx+h*h, xy+h*v
	}
	if d := n*xx - x*x; d > 0 {
		return (n*xy - x*y) / d
	}
	return 0
}

// soak is the figures of a run without faults.
type soak struct {
	*scene
	rocket *rmq.Client
	begun  time.Time
	all    []*series
	at     map[string]*series
	// renewed is, by worker, how old leases were each time that a heartbeat came back.
	renewed map[string]*dto.Histogram
}

// soakFor lets records flow for a time, samples every minute, and prints each figure's start, end and slope.
func (s *scene) soakFor(ctx context.Context, d time.Duration) error {
	rocket, err := rmq.Open(rmq.Config{NameServers: s.fleet.brokers.Names()})
	if err != nil {
		return fmt.Errorf("opening the RocketMQ client: %w", err)
	}
	defer rocket.Close()
	k := &soak{scene: s, rocket: rocket, begun: time.Now(), at: map[string]*series{}, renewed: map[string]*dto.Histogram{}}
	s.say("%d records/s for %s, a sample every %s", s.rate, d, sampleEvery)
	tick := time.NewTicker(min(sampleEvery, d/4))
	defer tick.Stop()
	for end := time.Now().Add(d); ; {
		if err := k.sample(ctx); err != nil {
			return err
		}
		if !time.Now().Before(end) {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	k.print()
	return k.verdict(ctx)
}

// sample reads all figures once.
func (k *soak) sample(ctx context.Context) error {
	for _, m := range k.fleet.live() {
		if err := k.fleet.noneEnded(); err != nil {
			return err
		}
		shown, err := metrics.Read(ctx, m.proc.URL("/metrics"))
		if err != nil {
			return err
		}
		rss, descriptors, err := usage(m.proc.PID())
		if err != nil {
			return err
		}
		k.add(m.id+" RSS KiB", rss)
		k.add(m.id+" file descriptors", descriptors)
		for name, metric := range map[string]string{"goroutines": "go_goroutines", "lease shut": "connect_worker_lease_shut_total"} {
			v, err := shown.Value(metric)
			if err != nil {
				return err
			}
			k.add(m.id+" "+name, v)
		}
		if k.renewed[m.id], err = shown.Histogram("connect_worker_lease_renewed_age_seconds"); err != nil {
			return err
		}
	}
	for _, topic := range process.InternalTopics(k.fleet.cluster) {
		n, err := flow.RocketMQEnds(k.rocket, topic)(ctx)
		if err != nil {
			return err
		}
		k.add("records in "+strings.TrimPrefix(topic, k.fleet.cluster+"-")+" topic", float64(n))
	}
	tally := k.flows.Mark().Sum()
	k.add("records repeated", float64(tally.Duplicates))
	k.say("%d records came out; %s", tally.Distinct, k.latest())
	return nil
}

func (k *soak) add(name string, v float64) {
	s, ok := k.at[name]
	if !ok {
		s = &series{name: name}
		k.at[name], k.all = s, append(k.all, s)
	}
	s.hours, s.values = append(s.hours, time.Since(k.begun).Hours()), append(s.values, v)
}

// latest is the members' newest figures in short.
func (k *soak) latest() string {
	var parts []string
	for _, m := range k.fleet.live() {
		last := func(what string) float64 {
			v := k.at[m.id+" "+what].values
			return v[len(v)-1]
		}
		parts = append(parts, fmt.Sprintf("%s %.1f MiB %.0f goroutines %.0f descriptors %.0f lease shuts", m.id, last("RSS KiB")/1024,
			last("goroutines"), last("file descriptors"), last("lease shut")))
	}
	return strings.Join(parts, ", ")
}

func (k *soak) print() {
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nfigure\tstart\tend\tper hour\t")
	for _, s := range k.all {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%+.0f\t\n", s.name, s.values[0], s.values[len(s.values)-1], s.slope())
	}
	_ = t.Flush()
	k.printLeases()
}

// printLeases shows what the session time-out has to hold: the age of a lease at its renewal, and what a delivery may
// take.
func (k *soak) printLeases() {
	older := map[float64]uint64{}
	var bounds []float64
	var all uint64
	for _, h := range k.renewed {
		all += h.GetSampleCount()
		for _, b := range h.GetBucket() {
			if _, ok := older[b.GetUpperBound()]; !ok {
				bounds = append(bounds, b.GetUpperBound())
			}
			older[b.GetUpperBound()] += h.GetSampleCount() - b.GetCumulativeCount()
		}
	}
	slices.Sort(bounds)
	fmt.Printf("\n%d leases renewed\n", all)
	for _, b := range bounds {
		fmt.Printf("older than %g s: %d\n", b, older[b])
		if older[b] == 0 {
			break
		}
	}
}

// verdict checks the flow; what grows is for people to judge.
func (k *soak) verdict(ctx context.Context) error {
	if err := k.recovered(ctx); err != nil {
		return err
	}
	all := k.flows.Mark()
	t := all.Sum()
	fmt.Printf("\n%s: records sent %d, come out %d, missing 0, repeats %d, out of order %d, changed %d, foreign %d\n",
		time.Since(k.begun).Round(time.Second), t.Sent, t.Distinct, t.Duplicates, t.OutOfOrder, t.Corrupt, t.Foreign)
	if v := compare(make(traffic.Tallies, len(all)), all); len(v) > 0 {
		return fmt.Errorf("%w: %s", errViolated, strings.Join(v, "; "))
	}
	return nil
}

// usage is a process's resident memory in KiB and its open descriptors.
func usage(pid int) (rss, descriptors float64, err error) {
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("counting descriptors: %w", err)
	}
	resident, err := process.Memory(pid, "VmRSS")
	return float64(resident >> 10), float64(len(fds)), err
}
