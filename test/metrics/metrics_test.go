package metrics

import (
	"errors"
	"strings"
	"testing"
)

const shown = `# TYPE go_goroutines gauge
go_goroutines 42
# TYPE refused counter
refused{reason="foreign",store="config"} 2
refused{reason="malformed",store="config"} 3
# TYPE age histogram
age_bucket{le="0.6"} 7
age_bucket{le="+Inf"} 9
age_sum 5
age_count 9
`

func TestMetricsAreFoundByNameAndAllLabels(t *testing.T) {
	m, err := parse(strings.NewReader(shown))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		metric string
		labels []string
		want   float64
		err    error
	}{
		"a gauge":                   {metric: "go_goroutines", want: 42},
		"a counter":                 {metric: "refused", labels: []string{"store", "config", "reason", "malformed"}, want: 3},
		"a label is missing":        {metric: "refused", labels: []string{"reason", "foreign"}, err: ErrNone},
		"a label has another value": {metric: "refused", labels: []string{"reason", "foreign", "store", "offset"}, err: ErrNone},
		"no such name":              {metric: "go_routines", err: ErrNone},
		"a histogram has no value":  {metric: "age", err: ErrNone},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := m.Value(c.metric, c.labels...); got != c.want || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v, want %v, %v", got, err, c.want, c.err)
			}
		})
	}
	h, err := m.Histogram("age")
	if err != nil || h.GetSampleCount() != 9 || h.GetBucket()[0].GetUpperBound() != 0.6 || h.GetBucket()[0].GetCumulativeCount() != 7 {
		t.Errorf("the histogram is %v, %v", h, err)
	}
	if _, err := m.Histogram("go_goroutines"); !errors.Is(err, ErrNone) {
		t.Errorf("a gauge read as a histogram: %v", err)
	}
}
