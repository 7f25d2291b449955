package connectcluster

import (
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
)

const (
	// probeTimeout bounds the question to one pod.
	probeTimeout = 2 * time.Second
	// maxReason bounds what is read of a pod's answer, in bytes.
	maxReason = 1 << 10
)

// Probe asks the worker at host:port why it is not ready; empty if it does not say.
type Probe func(ctx context.Context, address string) string

// HTTPProbe reads the body of a worker's /readyz.
func HTTPProbe() Probe {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: probeTimeout}
	return func(ctx context.Context, address string) string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			return ""
		}
		resp, err := c.Do(req)
		if err != nil {
			return ""
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxReason))
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			return ""
		}
		return strings.TrimSpace(string(body))
	}
}

// askUnready asks the first running pod that is not ready why: what keeps one worker from its work usually keeps all.
func (r *Reconciler) askUnready(ctx context.Context, c *v1alpha1.ConnectCluster, pods []corev1.Pod) map[string]string {
	byName := slices.SortedFunc(slices.Values(pods), func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range byName {
		if p.Status.PodIP == "" || !p.DeletionTimestamp.IsZero() || !runsUnready(p) {
			continue
		}
		reason := r.options.Probe(ctx, net.JoinHostPort(p.Status.PodIP, strconv.Itoa(int(render.ProbePort(c)))))
		if reason == "" {
			return nil
		}
		return map[string]string{p.Name: reason}
	}
	return nil
}

func runsUnready(p corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
		return s.Name == render.WorkerContainer && s.State.Running != nil && !s.Ready
	})
}
