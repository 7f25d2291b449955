package schedule

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rocketmq-connect/operator/worker/states"
)

// metrics are the figures of a Scheduler.
type metrics struct {
	tasks    *prometheus.GaugeVec
	failures *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		tasks: f.NewGaugeVec(prometheus.GaugeOpts{Name: "connect_worker_tasks",
			Help: "Tasks that this worker owns, by state."}, []string{"state"}),
		failures: f.NewCounterVec(prometheus.CounterOpts{Name: "connect_worker_unit_failures_total",
			Help: "Attempts of connectors and tasks that failed on this worker."}, []string{"connector"}),
	}
}

func (m *metrics) setTasks(counts map[states.Observed]int) {
	for state, n := range counts {
		m.tasks.WithLabelValues(string(state)).Set(float64(n))
	}
}

func (m *metrics) forget(connector string) {
	m.failures.DeletePartialMatch(prometheus.Labels{"connector": connector})
}
