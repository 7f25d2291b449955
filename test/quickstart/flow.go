package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/kube"
)

const partitions = 8

var errLost = errors.New("records were lost, changed or out of order")

// thereAndBack carries the records from Kafka to RocketMQ, then back to Kafka, and compares each.
func (d *demo) thereAndBack(ctx context.Context) error {
	plan := flow.Plan{Records: d.records, Size: d.size, Keys: 5000, Seed: 1, Begin: d.began}
	topic := fmt.Sprintf("orders-%d", d.began.Unix())
	d.say("Producing %d records of %d bytes to Kafka topic %s", plan.Records, plan.Size, topic)
	if err := d.topic(ctx, topic, partitions); err != nil {
		return err
	}
	if err := flow.Produce(
		ctx,
		d.options.kafka,
		topic,
		plan,
		func(n int) { d.progress("in Kafka", int64(n), int64(plan.Records)) },
	); err != nil {
		return err
	}
	d.say("Kafka to RocketMQ: a source connector with 4 tasks")
	in, err := d.carry(ctx, kube.SourceYAML(topic), flow.RocketMQEnds(d.rmq, topic), "in RocketMQ")
	if err != nil {
		return err
	}
	d.say("RocketMQ to Kafka: a sink connector with 4 tasks")
	out, err := d.carry(ctx, kube.SinkYAML(topic), flow.KafkaEnds(d.kafka, topic+"-copy"), "back in Kafka")
	if err != nil {
		return err
	}
	d.say("What kubectl shows")
	for _, kind := range []string{"connectcluster", "connector", "pod"} {
		if _, err := d.kube.Kubectl(ctx, "get", "-n", kube.Namespace, kind); err != nil {
			return err
		}
	}
	d.say("Comparing every record by content hash")
	result, err := flow.Check(ctx, d.options.kafka, topic+"-copy", plan, 20*time.Second)
	if err != nil {
		return err
	}
	fmt.Printf("    %s\n    Kafka to RocketMQ: %.0f records/s, RocketMQ to Kafka: %.0f records/s\n", result, in.PerSecond(), out.PerSecond())
	d.memory(ctx)
	if !result.Intact() {
		return fmt.Errorf("%w: %s", errLost, result)
	}
	return nil
}

func (d *demo) carry(ctx context.Context, yaml string, count flow.Count, what string) (flow.Rate, error) {
	if err := d.apply(ctx, yaml); err != nil {
		return flow.Rate{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	return flow.Measure(ctx, count, int64(d.records), func(n int64) { d.progress(what, n, int64(d.records)) })
}

// memory prints each worker's resident set size.
func (d *demo) memory(ctx context.Context) {
	pods, err := d.kube.Pods(ctx, kube.Namespace, kube.WorkerSelector)
	if err != nil {
		fmt.Println("    memory unknown:", err)
		return
	}
	for _, p := range pods {
		process, err := kube.FindProcess(kube.WorkerBinary, p.Name)
		if err != nil {
			fmt.Println("    memory unknown:", err)
			continue
		}
		now, peak, err := process.Memory()
		if err != nil {
			fmt.Println("    memory unknown:", err)
			continue
		}
		fmt.Printf("    worker %s: RSS %d MiB, peak %d MiB\n", p.Name, now, peak)
	}
}
