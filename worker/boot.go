package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

const (
	// firstRetry and lastRetry bound how long a worker waits before it asks a RocketMQ again that is away or refuses.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
	// credentialsInterval is how often a running worker looks for renewed credentials.
	credentialsInterval = 15 * time.Second
)

// errRenewed ends a worker whose credentials were renewed: whoever started it starts it again, with the new ones.
var errRenewed = errors.New("the credentials in credentialsDir have changed: start the worker again to use them")

// awaitRocketMQ returns once the internal topics are there. Whatever is in the way (no name server, no broker, refused
// credentials, a topic of the wrong shape) can be mended while the worker waits, so it is asked again until ctx ends.
func (p *parts) awaitRocketMQ(ctx context.Context) error {
	return p.await(ctx, func(error) bool { return true }, p.ensureTopics)
}

// checkTopics waits while RocketMQ refuses what it needs.
func (p *parts) checkTopics(ctx context.Context) error {
	return p.await(ctx, func(err error) bool { return errors.Is(err, rmq.ErrAccessDenied) }, p.stores.Configs().CheckTopics)
}

// await calls fn until it succeeds, fails in a way that is not waited for, or ctx ends. Meanwhile the worker is not
// ready, and says why.
func (p *parts) await(ctx context.Context, waits func(error) bool, fn func(context.Context) error) error {
	var pauses backoff.Doubling
	var failing rmq.Failing
	for {
		began := time.Now()
		err := fn(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return ctx.Err()
		case !waits(err):
			return err
		}
		failing.Failed(began, err)
		err = explained(proxied(err, p.cfg), p.cfg.NamesrvAddrs)
		p.ready.set(err, func() []string {
			t, _, _ := failing.Trouble()
			return []string{"since " + stamp(t.Alike)}
		})
		pause := pauses.Next(firstRetry, lastRetry)
		p.opts.Log.Info(
			"Waiting for RocketMQ",
			"nameServers",
			strings.Join(p.cfg.NamesrvAddrs, ";"),
			"reason",
			err.Error(),
			"retryIn",
			pause.String(),
		)
		if service.Sleep(ctx, pause) != nil {
			return ctx.Err()
		}
		if p.renewed() {
			return errRenewed
		}
	}
}

// watchCredentials ends the worker when the files of its credentials have changed.
func (p *parts) watchCredentials(ctx context.Context) error {
	tick := time.NewTicker(credentialsInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if p.renewed() {
				return errRenewed
			}
		}
	}
}

// renewed reports whether the files hold other credentials than this worker uses. Files that cannot be read just now,
// in the middle of an update, say nothing.
func (p *parts) renewed() bool {
	creds, err := p.cfg.Credentials()
	return err == nil && creds != p.creds
}

// explained says what to do about an error of RocketMQ.
func explained(err error, nameServers []string) error {
	switch {
	case errors.Is(err, rmq.ErrAccessDenied):
		return fmt.Errorf("RocketMQ refuses access, and the worker waits until it is granted (docs/operations.md, \"Access control\"): %w", err)
	case errors.Is(err, rmq.ErrTopicShape):
		return fmt.Errorf(
			"an internal topic must have exactly one queue on one broker: mend or remove it, or name another in the configuration: %w",
			err,
		)
	case errors.Is(err, rmq.ErrTopicAway):
		return fmt.Errorf("the broker that holds an internal topic is away, and the worker waits for it: if it is lost for good, "+
			"name in clusterTopicBroker (spec.internalTopics.broker) the broker on which the internal topics are to be recreated: %w", err)
	case errors.Is(err, rmq.ErrUnreachable):
		return fmt.Errorf(
			"RocketMQ cannot be reached, name servers %s: check namesrvAddr and that name server and broker run: %w",
			strings.Join(nameServers, ";"),
			err,
		)
	}
	return err
}

// localIP returns the address that others most likely reach this host by: the one that speaks to the name server, or,
// when that is on this host, the first of an interface that is up. It is the same after a restart.
func localIP(nameServers []string) string {
	for _, addr := range nameServers {
		conn, err := net.DialTimeout("udp", addr, time.Second) // sends nothing: it only asks for a route
		if err != nil {
			continue
		}
		local, ok := conn.LocalAddr().(*net.UDPAddr)
		_ = conn.Close()
		if ok && !local.IP.IsLoopback() && !local.IP.IsUnspecified() {
			return local.IP.String()
		}
	}
	if ip := interfaceIP(); ip != "" {
		return ip
	}
	return "127.0.0.1"
}

func interfaceIP() string {
	interfaces, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || virtual(i.Name) {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
				return n.IP.String()
			}
		}
	}
	return ""
}

// virtual reports whether the interface is of containers, which come and go.
func virtual(name string) bool {
	for _, prefix := range []string{"docker", "veth", "cni", "br-", "virbr", "flannel", "kube"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}
