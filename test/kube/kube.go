// Package kube drives a real Kubernetes for tests and the quickstart: the user's own commands through kubectl and helm,
// and what only the machine that runs the pods can do, such as killing a worker's process.
package kube

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rocketmq-connect/operator/worker/service"
)

// Kube reaches the cluster that KUBECONFIG names.
type Kube struct {
	client kubernetes.Interface
	// Echo is told each command that a user could type, ahead of its run, and its output after it; nil tells nobody.
	Echo func(line string)
}

// New reads KUBECONFIG.
func New() (*Kube, error) {
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading KUBECONFIG (is the local stack up? see 'make help'): %w", err)
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("opening the Kubernetes client: %w", err)
	}
	return &Kube{client: client}, nil
}

// Run runs a command such as kubectl or helm and returns what it printed; stdin may be empty.
func (k *Kube) Run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	if k.Echo != nil {
		k.Echo("$ " + name + " " + strings.Join(args, " "))
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	if k.Echo != nil {
		for line := range strings.Lines(out.String()) {
			k.Echo(strings.TrimRight(line, "\n"))
		}
	}
	return out.String(), nil
}

// Kubectl runs kubectl without standard input.
func (k *Kube) Kubectl(ctx context.Context, args ...string) (string, error) {
	return k.Run(ctx, "", "kubectl", args...)
}

// Pods lists the pods that match the label selector.
func (k *Kube) Pods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	list, err := k.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	return list.Items, nil
}

// instance is one run of a pod's container.
type instance struct {
	pod      string
	uid      types.UID
	restarts int32
}

// Follow hands every log line of every worker container to each, from its first line, across restarts and new pods,
// until ctx ends. A line may come twice. each is called from one goroutine at a time.
func (k *Kube) Follow(ctx context.Context, namespace, selector, container string, each func(pod, line string)) {
	var group sync.WaitGroup
	var mu sync.Mutex
	serial := func(pod, line string) {
		mu.Lock()
		defer mu.Unlock()
		each(pod, line)
	}
	followed := map[instance]bool{}
	for ctx.Err() == nil {
		pods, err := k.Pods(ctx, namespace, selector)
		for _, p := range pods {
			for _, s := range p.Status.ContainerStatuses {
				in := instance{p.Name, p.UID, s.RestartCount}
				if err != nil || s.Name != container || followed[in] || (s.State.Running == nil && s.State.Terminated == nil) {
					continue
				}
				followed[in] = true
				group.Go(func() { k.stream(ctx, namespace, in, container, serial) })
			}
		}
		_ = service.Sleep(ctx, 200*time.Millisecond)
	}
	group.Wait()
}

func (k *Kube) stream(ctx context.Context, namespace string, in instance, container string, each func(pod, line string)) {
	if in.restarts > 0 { // the end of the run before may have been missed
		k.lines(ctx, namespace, in.pod, &corev1.PodLogOptions{Container: container, Previous: true}, each)
	}
	k.lines(ctx, namespace, in.pod, &corev1.PodLogOptions{Container: container, Follow: true}, each)
}

func (k *Kube) lines(ctx context.Context, namespace, pod string, opts *corev1.PodLogOptions, each func(pod, line string)) {
	body, err := k.client.CoreV1().Pods(namespace).GetLogs(pod, opts).Stream(ctx)
	if err != nil {
		return
	}
	defer body.Close()
	in := bufio.NewReader(body)
	for {
		line, err := in.ReadString('\n')
		if line = strings.TrimSpace(line); line != "" {
			each(pod, line)
		}
		if err != nil {
			return
		}
	}
}

// Until calls ok every half second until it is true; the error of ctx's end holds the last thing that ok said.
func Until(ctx context.Context, what string, ok func(ctx context.Context) (bool, string)) error {
	for {
		done, last := ok(ctx)
		if done {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for %s: %w; last seen: %s", what, ctx.Err(), last)
		}
		_ = service.Sleep(ctx, 500*time.Millisecond)
	}
}

var errNoProcess = errors.New("no such process")
