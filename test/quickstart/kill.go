package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/kube"
	"github.com/rocketmq-connect/operator/worker/service"
)

var errTwice = errors.New("a task ran on two workers at once")

// fault is one worker taken away: how, which, and when by the boot clock.
type fault struct {
	what, pod string
	at        time.Duration
}

// killWorkers kills one worker's process and deletes another's pod while records flow, then shows how long each task
// ran nowhere, and that none ran twice at once.
func (d *demo) killWorkers(ctx context.Context) error {
	plan := flow.Plan{Records: d.rate * int(d.liveFor.Seconds()), Size: d.size, Keys: 5000, Seed: 2, Begin: d.began, Rate: d.rate}
	topic := fmt.Sprintf("live-%d", d.began.Unix())
	d.say("Killing workers while %d records flow at %d a second", plan.Records, plan.Rate)
	if err := d.topic(ctx, topic, partitions); err != nil {
		return err
	}
	if err := d.apply(ctx, kube.SourceYAML(topic)+"---\n"+kube.SinkYAML(topic)); err != nil {
		return err
	}
	produced := make(chan error, 1)
	go func() {
		produced <- flow.Produce(ctx, d.options.kafka, topic, plan, func(n int) {
			if n%(10*plan.Rate) < plan.Rate {
				d.progress("in Kafka", int64(n), int64(plan.Records))
			}
		})
	}()
	faults, err := d.faults(ctx, topic)
	if err = errors.Join(err, <-produced); err != nil {
		return err
	}
	d.say("Comparing every record by content hash")
	result, err := flow.Check(ctx, d.options.kafka, topic+"-copy", plan, 30*time.Second)
	if err != nil {
		return err
	}
	fmt.Println("   ", result)
	intervals := d.ownership.Intervals()
	d.table(intervals, faults)
	overlaps := audit.Overlaps(intervals)
	fmt.Printf("    tasks that ran on two workers at once: %d (of %d runs of %d tasks)\n", len(overlaps), len(intervals), tasks(intervals))
	for _, o := range overlaps {
		fmt.Println("    ", o)
	}
	if len(overlaps) > 0 {
		return errTwice
	}
	if !result.Intact() {
		return fmt.Errorf("%w: %s", errLost, result)
	}
	return nil
}

// faults waits until records flow at the far end, then takes two workers away, with time to settle after each.
func (d *demo) faults(ctx context.Context, topic string) ([]fault, error) {
	flowing, cancel := context.WithTimeout(ctx, d.liveFor)
	defer cancel()
	if _, err := flow.Measure(flowing, flow.KafkaEnds(d.kafka, topic+"-copy"), int64(5*d.rate), func(int64) {}); err != nil {
		return nil, err
	}
	pods, err := d.kube.Pods(ctx, kube.Namespace, kube.WorkerSelector)
	if err != nil || len(pods) < 2 {
		return nil, fmt.Errorf("two worker pods are needed, there are %d: %w", len(pods), err)
	}
	process, err := kube.FindProcess(kube.WorkerBinary, pods[0].Name)
	if err != nil {
		return nil, err
	}
	d.say("SIGKILL to the process of pod %s", pods[0].Name)
	killed, err := process.Kill(ctx)
	if err != nil {
		return nil, err
	}
	d.ownership.Died(pods[0].Name, killed)
	if err := service.Sleep(ctx, 20*time.Second); err != nil {
		return nil, err
	}
	d.say("Deleting pod %s", pods[1].Name)
	deleted := kube.BootTime()
	if _, err := d.kube.Kubectl(ctx, "delete", "pod", "-n", kube.Namespace, pods[1].Name, "--wait=false"); err != nil {
		return nil, err
	}
	err = service.Sleep(ctx, 20*time.Second)
	return []fault{{"SIGKILL", pods[0].Name, killed}, {"pod deleted", pods[1].Name, deleted}}, err
}

// table prints each time that a task ran nowhere since the first fault.
func (d *demo) table(intervals []audit.Interval, faults []fault) {
	fmt.Printf("\n    %-12s %-28s %-14s %-14s %12s\n", "FAULT", "TASK", "FROM", "TO", "UNOWNED")
	for i, f := range faults {
		until := kube.BootTime()
		if i+1 < len(faults) {
			until = faults[i+1].at
		}
		var all []time.Duration
		for _, g := range audit.Gaps(intervals, f.at) {
			if g.To > until {
				continue
			}
			all = append(all, g.To-g.From)
			fmt.Printf("    %-12s %-28s %-14s %-14s %9d ms\n", f.what, g.Task, g.OldWorker, g.NewWorker, (g.To - g.From).Milliseconds())
		}
		if len(all) > 0 {
			fmt.Printf("    %-12s %d hand-overs, longest unowned %d ms\n", f.what, len(all), slices.Max(all).Milliseconds())
		}
	}
}

func tasks(intervals []audit.Interval) int {
	seen := map[audit.Task]bool{}
	for _, in := range intervals {
		seen[in.Task] = true
	}
	return len(seen)
}
