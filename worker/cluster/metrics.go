package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	ignored *prometheus.CounterVec
	appends *prometheus.CounterVec
	expired prometheus.Counter
	overrun prometheus.Counter
	shut    prometheus.Counter
	renewed prometheus.Histogram
}

// renewedAges are bounds in seconds from little more than the default heartbeat interval to long session time-outs. 2.5
// s is where sources begin to wait at the defaults, 4.5 s where the lease ends.
var renewedAges = []float64{0.6, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4.5, 6, 9, 13.5, 27}

// newMetrics registers the metrics of c, whose machine and view must be there.
func newMetrics(reg prometheus.Registerer, c *Cluster) *metrics {
	f := promauto.With(reg)
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "connect_worker_view_size", Help: "Live sessions in this worker's view of the cluster."},
		func() float64 { return float64(len(c.view.Load().Members)) })
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "connect_worker_lease_age_seconds",
		Help: "Time since the newest heartbeat that the cluster log accepted was sent; 0 without a lease."}, func() float64 {
		age, _ := c.leaseTimes()
		return age.Seconds()
	})
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "connect_worker_lease_remaining_seconds",
		Help: "Time for which tasks may still deliver without another heartbeat."}, func() float64 {
		_, left := c.leaseTimes()
		return left.Seconds()
	})
	f.NewCounterFunc(prometheus.CounterOpts{Name: "connect_worker_cluster_digest_mismatches_total",
		Help: "Heartbeats of other workers that made something else of the cluster log than this one."}, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		count, _ := c.machine.Mismatches()
		return float64(count)
	})
	f.NewGaugeFunc(prometheus.GaugeOpts{Name: "connect_worker_cluster_disputed",
		Help: "1 while as many workers contradict this one's fold of the cluster log as agree: nothing is claimed then."}, func() float64 {
		if _, disputed := c.Disputed(); disputed {
			return 1
		}
		return 0
	})
	return &metrics{
		ignored: f.NewCounterVec(prometheus.CounterOpts{Name: "connect_worker_cluster_records_ignored_total",
			Help: "Records of the cluster log that the fold did not accept."}, []string{"reason"}),
		appends: f.NewCounterVec(prometheus.CounterOpts{Name: "connect_worker_cluster_appends_total",
			Help: "Appends of this worker to the cluster log."}, []string{"result"}),
		expired: f.NewCounter(prometheus.CounterOpts{Name: "connect_worker_sessions_expired_total",
			Help: "Sessions of any worker that this worker saw expire."}),
		overrun: f.NewCounter(prometheus.CounterOpts{Name: "connect_worker_lease_overrun_total",
			Help: "Deliveries that ended so long after their lease that another worker may have begun."}),
		shut: f.NewCounter(prometheus.CounterOpts{Name: "connect_worker_lease_shut_total",
			Help: "Deliveries that were cut off because no heartbeat came back in time."}),
		renewed: f.NewHistogram(prometheus.HistogramOpts{Name: "connect_worker_lease_renewed_age_seconds", Buckets: renewedAges,
			Help: "Age of the lease each time that a newer heartbeat came back; tasks start nothing at nine tenths of the session time-out, " +
				"less what a delivery may take."}),
	}
}
