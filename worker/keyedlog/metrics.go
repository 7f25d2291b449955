package keyedlog

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the connect_worker_store_* families; the Tables of one worker share them.
type Metrics struct {
	appends, ignored, republished *prometheus.CounterVec
	seconds                       *prometheus.HistogramVec
	offset                        *prometheus.GaugeVec
}

// NewMetrics registers the families; nil registers nothing.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		appends: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_store_appended_records_total",
			Help: "Records that this worker appended to an internal topic, by result.",
		}, []string{"store", "result"}),
		ignored: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_store_refused_records_total",
			Help: "Records read from an internal topic that changed nothing: refused (older, or a condition not met), malformed, foreign.",
		}, []string{"store", "reason"}),
		republished: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_store_republished_records_total",
			Help: "Newest values published again because a refused or lost record hid them, or because they would have aged out.",
		}, []string{"store"}),
		seconds: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "connect_worker_store_append_seconds",
			Help:    "Time one batch took to be stored in an internal topic.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, []string{"store"}),
		offset: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "connect_worker_store_read_offset",
			Help: "Offset up to which this worker has read an internal topic.",
		}, []string{"store"}),
	}
}

type meter struct {
	stored, failed, refused, malformed, foreign, republished prometheus.Counter
	seconds                                                  prometheus.Observer
	offset                                                   prometheus.Gauge
}

func (m *Metrics) of(store string) meter {
	return meter{
		stored: m.appends.WithLabelValues(store, "stored"), failed: m.appends.WithLabelValues(store, "failed"),
		refused: m.ignored.WithLabelValues(store, "refused"), malformed: m.ignored.WithLabelValues(store, "malformed"),
		foreign: m.ignored.WithLabelValues(store, "foreign"), republished: m.republished.WithLabelValues(store),
		seconds: m.seconds.WithLabelValues(store), offset: m.offset.WithLabelValues(store),
	}
}

func (m meter) appended(took time.Duration, records int, err error) {
	if err != nil {
		m.failed.Add(float64(records))
		return
	}
	m.seconds.Observe(took.Seconds())
	m.stored.Add(float64(records))
}
