package task

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rocketmq-connect/operator/worker/connector"
)

// metrics are the figures of all tasks of a worker. The connector's name is the widest label.
type metrics struct {
	records, bytes, batches, errors, skipped *prometheus.CounterVec
	lag                                      *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "connect_worker_task_" + name, Help: help},
			append([]string{"connector", "direction"}, labels...))
	}
	return &metrics{
		records: counter("records_total", "Records moved by tasks on this worker; result is delivered, skipped or deadlettered.", "result"),
		bytes:   counter("bytes_total", "Bytes of record bodies moved by tasks on this worker."),
		batches: counter("batches_total", "Batches sent to RocketMQ by sources, or put by sinks, on this worker.", "result"),
		errors:  counter("errors_total", "Failures of tasks on this worker, by what was being done.", "stage"),
		skipped: counter("skipped_total", "Records left out on purpose, by reason.", "reason"),
		lag: f.NewGaugeVec(prometheus.GaugeOpts{Name: "connect_worker_task_lag_records",
			Help: "Records that the tasks of a sink on this worker have not read yet."}, []string{"connector"}),
	}
}

// counters are the metrics of one attempt.
type counters struct {
	m               *metrics
	connector, kind string
	// moved and movedBytes are looked up once: they count every record.
	moved, movedBytes prometheus.Counter

	mu  sync.Mutex
	lag float64 // this attempt's part of the connector's lag
}

func (m *metrics) of(name string, kind connector.Kind) *counters {
	direction := "source"
	if kind == connector.KindSink {
		direction = "sink"
	}
	return &counters{m: m, connector: name, kind: direction, moved: m.records.WithLabelValues(name, direction, "delivered"),
		movedBytes: m.bytes.WithLabelValues(name, direction)}
}

func (c *counters) delivered(records, bytes int) {
	c.moved.Add(float64(records))
	c.movedBytes.Add(float64(bytes))
}

func (c *counters) skipped(reason string, n int) {
	c.m.records.WithLabelValues(c.connector, c.kind, "skipped").Add(float64(n))
	c.m.skipped.WithLabelValues(c.connector, c.kind, reason).Add(float64(n))
}

func (c *counters) deadLettered() {
	c.m.records.WithLabelValues(c.connector, c.kind, "deadlettered").Inc()
}

func (c *counters) batch(err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	c.m.batches.WithLabelValues(c.connector, c.kind, result).Inc()
}

func (c *counters) failed(stage string) { c.m.errors.WithLabelValues(c.connector, c.kind, stage).Inc() }

// setLag replaces this attempt's part in the connector's lag.
func (c *counters) setLag(records int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m.lag.WithLabelValues(c.connector).Add(float64(records) - c.lag)
	c.lag = float64(records)
}

// Forget drops the series of a connector that was deleted.
func (r *Runner) Forget(connectorName string) {
	labels := prometheus.Labels{"connector": connectorName}
	for _, vec := range []*prometheus.CounterVec{r.metrics.records, r.metrics.bytes, r.metrics.batches, r.metrics.errors, r.metrics.skipped} {
		vec.DeletePartialMatch(labels)
	}
	r.metrics.lag.DeletePartialMatch(labels)
}
