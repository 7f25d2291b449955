// Package metrics reads what workers count.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// ErrNone means that a worker does not show a metric.
var ErrNone = errors.New("no such metric")

// Families are what a worker counted, by name.
type Families map[string]*dto.MetricFamily

// Read reads the metrics that are shown at url in Prometheus's text format.
func Read(ctx context.Context, url string) (Families, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking for metrics: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking for metrics: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("asking for metrics: GET %s: %s", url, resp.Status)
	}
	return parse(resp.Body)
}

func parse(text io.Reader) (Families, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return families, nil
}

// Value is a counter's or gauge's value. labels are all of its labels, names and values in turns.
func (m Families) Value(name string, labels ...string) (float64, error) {
	found, err := m.find(name, labels)
	if err != nil {
		return 0, err
	}
	switch {
	case found.GetCounter() != nil:
		return found.GetCounter().GetValue(), nil
	case found.GetGauge() != nil:
		return found.GetGauge().GetValue(), nil
	}
	return 0, fmt.Errorf("%w: %s is neither a counter nor a gauge", ErrNone, name)
}

// Histogram is a histogram's buckets, which count what is at most their upper bound, and the count of all.
func (m Families) Histogram(name string, labels ...string) (*dto.Histogram, error) {
	found, err := m.find(name, labels)
	if err != nil {
		return nil, err
	}
	if found.GetHistogram() == nil {
		return nil, fmt.Errorf("%w: %s is no histogram", ErrNone, name)
	}
	return found.GetHistogram(), nil
}

func (m Families) find(name string, labels []string) (*dto.Metric, error) {
	for _, metric := range m[name].GetMetric() {
		if has(metric.GetLabel(), labels) {
			return metric, nil
		}
	}
	return nil, fmt.Errorf("%w: %s{%s}", ErrNone, name, strings.Join(labels, " "))
}

func has(pairs []*dto.LabelPair, labels []string) bool {
	if len(labels) != 2*len(pairs) {
		return false
	}
	values := map[string]string{}
	for _, p := range pairs {
		values[p.GetName()] = p.GetValue()
	}
	for i := 0; i < len(labels); i += 2 {
		if v, ok := values[labels[i]]; !ok || v != labels[i+1] {
			return false
		}
	}
	return true
}
