package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	workers = 3
	keys    = 60
	// settleTimeout is how long the last records may take at the end of a timed run: longer than it takes to notice a
	// worker that was lost just before.
	settleTimeout = 30 * time.Second
	// startTimeout is how long a timed run waits for its first record.
	startTimeout = time.Minute
	sampleEvery  = 250 * time.Millisecond
	// lineEvery is how often there is a line where there is no screen.
	lineEvery = 2 * time.Second
	// rateWindow is how many samples a rate is taken over.
	rateWindow = 8
)

// demo is everything: brokers, workers, records, and the eyes on them.
type demo struct {
	rate     int
	dir      string
	journal  *journal
	brokers  *brokers
	fleet    *fleet
	observer *observer
	ledger   *ledger

	group    service.Group
	failed   chan error
	stopFeed context.CancelFunc
	stopRest context.CancelFunc
	fed      chan struct{} // closed when the producer has ended

	samples []sample
}

type sample struct {
	at            time.Time
	in, thru, out int64
}

// open starts the brokers and the workers, and sets records going.
func open(ctx context.Context, rate int, echo io.Writer) (*demo, error) {
	d := &demo{rate: rate, journal: newJournal(echo), ledger: newLedger(keys), failed: make(chan error, 8), fed: make(chan struct{})}
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *demo) start(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "rocketmq-connect-demo-"); err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	if d.brokers, err = startBrokers(ctx); err != nil {
		return err
	}
	d.journal.add("RocketMQ listens on %s, Kafka on %s", d.brokers.rocketmq.NameServer(), d.brokers.bootstrap())
	d.fleet = newFleet(d.dir, d.brokers.rocketmq.NameServer(), workers, d.journal)
	for i := range workers {
		if err := d.fleet.start(ctx, i); err != nil {
			return err
		}
	}
	d.observer = newObserver(d.fleet, d.journal)
	feed, stopFeed := context.WithCancel(context.WithoutCancel(ctx))
	rest, stopRest := context.WithCancel(context.WithoutCancel(ctx))
	d.stopFeed, d.stopRest = stopFeed, stopRest
	d.run(func() error {
		defer close(d.fed)
		return d.brokers.produce(feed, d.ledger, d.rate)
	})
	d.run(func() error { return d.brokers.consume(rest, d.ledger) })
	d.run(func() error { return d.brokers.trim(rest, d.ledger) })
	d.run(func() error { return d.observer.watch(rest) })
	d.run(func() error { return d.observer.create(rest, d.brokers.bootstrap()) })
	return nil
}

// run runs fn until the demo is closed; its failure ends the demo.
func (d *demo) run(fn func() error) {
	d.group.Go(func() {
		if err := service.Guard(fn); err != nil {
			select {
			case d.failed <- err:
			default: // one failure is enough to end it
			}
		}
	})
}

// close stops and removes everything that open made.
func (d *demo) close() error {
	if d.stopRest != nil {
		d.stopFeed()
		d.stopRest()
	}
	d.group.Wait()
	var errs []error
	if d.fleet != nil {
		d.fleet.stop()
	}
	if d.brokers != nil {
		errs = append(errs, d.brokers.close())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// settle ends the making of records and waits for those on the way. What has not come after settleTimeout is lost.
func (d *demo) settle(ctx context.Context) (totals, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	d.stopFeed()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for fed := d.fed; ; {
		if t := d.ledger.count(); fed == nil && t.Out >= t.In {
			return t, nil
		}
		select {
		case <-fed:
			fed = nil
		case err := <-d.failed:
			return d.ledger.count(), err
		case <-ctx.Done():
			t := d.ledger.count()
			return t, fmt.Errorf("waiting for the last records: %d of %d have not come back", t.In-t.Out, t.In)
		case <-tick.C:
		}
	}
}

// finish waits for the last records and says how it ended; err is not nil when a record is missing or damaged.
func (d *demo) finish(ctx context.Context) (verdict string, err error) {
	t, err := d.settle(ctx)
	verdict = fmt.Sprintf("%s records went round: %s missing, %s damaged, %s repeated",
		grouped(t.In), grouped(max(0, t.In-t.Out)), grouped(t.Damaged), grouped(t.Repeated))
	if err == nil && t.Damaged > 0 {
		err = fmt.Errorf("%d records are damaged", t.Damaged)
	}
	return verdict, err
}

// frame takes a picture of now. It is called by one goroutine.
func (d *demo) frame(ctx context.Context) frame {
	now := time.Now()
	f := frame{At: now.Sub(d.journal.begin), Now: now, Workers: d.fleet.list(), Totals: d.ledger.count(), Events: d.journal.last()}
	f.Members, f.Units, f.From = d.observer.view()
	asking, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if ends, err := d.brokers.through(asking); err == nil {
		for _, end := range ends {
			f.Through += end
		}
	} else if n := len(d.samples); n > 0 { // the next picture tells
		f.Through = d.samples[n-1].thru
	}
	d.samples = append(d.samples, sample{now, f.Totals.In, f.Through, f.Totals.Out})
	d.samples = d.samples[max(0, len(d.samples)-rateWindow):]
	first := d.samples[0]
	if took := now.Sub(first.at).Seconds(); took > 0 {
		f.Rates = rates{
			In: float64(f.Totals.In-first.in) / took, Through: float64(f.Through-first.thru) / took, Out: float64(f.Totals.Out-first.out) / took,
		}
	}
	return f
}

// press does what a key asks for. It says whether the demo goes on.
func (d *demo) press(ctx context.Context, key byte) (bool, error) {
	switch key {
	case 'q', 'Q', ctrlC:
		return false, nil
	case 'p', 'P':
		if err := d.observer.toggleSource(ctx); err != nil {
			d.journal.add("%s", err)
		}
	case '1', '2', '3':
		return true, d.fleet.toggle(ctx, int(key-'1'))
	}
	return true, nil
}
