package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestWrongCredentialsAreWaitedForAndToldApart(t *testing.T) {
	cases := map[string]struct {
		accessKey, secretKey string // both empty: unsigned
		options              []rmqtest.Option
		want                 string
	}{
		"unsigned":                {"", "", nil, "it takes signed requests only: set aclEnable=true"},
		"a wrong access key":      {"somebody", "12345678", nil, "wrong accessKey: it knows no such user"},
		"a wrong secret key":      {"rocketmq", "hush-hush", nil, "wrong secretKey: the signature is not that of the user"},
		"a wrong access key, 4.9": {"somebody", "12345678", []rmqtest.Option{rmqtest.Line4()}, "wrong accessKey: it knows no such user"},
		"a wrong secret key, 4.9": {
			"rocketmq",
			"hush-hush",
			[]rmqtest.Option{rmqtest.Line4()},
			"wrong secretKey: the signature is not that of the user",
		},
		"a proxy that refuses": {"rocketmq", "hush-hush", []rmqtest.Option{rmqtest.BehindProxy()}, "on name server 127.0.0.1:"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			broker := rmqtest.Start(t, append(tc.options, rmqtest.WithCredentials("rocketmq", "12345678"))...)
			cfg := configFor(t, broker.NameServer())
			cfg.ACLEnable, cfg.AccessKey, cfg.SecretKey = tc.accessKey != "", tc.accessKey, tc.secretKey
			r := start(t, cfg)
			r.answers("/readyz", 503, "RocketMQ refuses access, and the worker waits", tc.want)
			r.answers("/healthz", 200)
			_, body, _ := r.get("/readyz")
			for _, secret := range []string{"hush-hush", "12345678", "somebody"} {
				if strings.Contains(body+r.log.String(), secret) {
					t.Errorf("it shows %q: %s", secret, body)
				}
			}
			r.stop()
			if err := r.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A permission is missing in each phase of a start, and granted later.
func TestAPermissionThatIsMissingIsNamedAndWaitedFor(t *testing.T) {
	topics := config.Default().Topics
	// Requests that the phases before need pass.
	after := func(n int32, codes ...int) func(req *remoting.Command) bool {
		var seen atomic.Int32
		return func(req *remoting.Command) bool {
			for _, code := range codes {
				if req.Code == code {
					return seen.Add(1) > n
				}
			}
			return false
		}
	}
	appends := []int{remoting.SendMessageV2, remoting.SendBatch}
	cases := map[string]struct {
		topic  string
		denies func(req *remoting.Command) bool
		action string
		fresh  bool // the topics are not there yet
	}{
		"to create a topic":                     {topics.Offset, after(0, remoting.CreateTopic), "Create", true},
		"to ask for the end of a topic":         {topics.Position, after(0, remoting.MinOffset), "Get", false},
		"to read a topic":                       {topics.Status, after(0, remoting.PullMessage), "Sub", false},
		"to read a store's topic to its end":    {topics.Config, after(2, remoting.MinOffset), "Get", false},
		"to store the cluster's identity":       {topics.Config, after(0, appends...), "Pub", true},
		"to read the cluster log":               {topics.Cluster, after(2, remoting.MinOffset), "Get", false},
		"to join":                               {topics.Cluster, after(0, appends...), "Pub", true},
		"to read back that the worker has come": {topics.Cluster, after(2, remoting.PullMessage), "Sub", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			broker := rmqtest.Start(t)
			cfg := configFor(t, broker.NameServer())
			if !tc.fresh {
				before := start(t, cfg)
				before.answers("/readyz", 200, "ok")
				before.stop()
				if err := before.ended(); err != nil {
					t.Fatal(err)
				}
			}
			var granted atomic.Bool
			broker.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
				topic := req.Field("topic") + req.Field("b")
				if !granted.Load() && topic == tc.topic && tc.denies(req) {
					v.Refuse, v.Remark = remoting.NoPermission, "User:connect has no permission to "+
						"access Topic:"+topic+" from 127.0.0.1, no matched policies."
				}
				return v
			})
			r := start(t, cfg)
			r.answers("/readyz", 503, "accessKey needs the permission "+tc.action+" on Topic:"+tc.topic+" from 127.0.0.1")
			r.answers("/healthz", 200)
			granted.Store(true)
			r.answers("/readyz", 200, "ok")
			r.stop()
			if err := r.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Renewed credentials count in every phase of a start: whoever started the worker starts it again.
func TestRenewedCredentialsEndAWorkerThatStillStarts(t *testing.T) {
	broker := rmqtest.Start(t)
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("accessKey", "rocketmq")
	write("secretKey", "of before")
	var renewed atomic.Int32
	broker.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
		if req.Field("b") == config.Default().Topics.Cluster {
			v.Refuse, v.Remark = remoting.NoPermission, "check signature failed."
			renewed.Add(1)
		}
		return v
	})
	cfg := configFor(t, broker.NameServer())
	cfg.ACLEnable, cfg.CredentialsDir = true, dir
	r := start(t, cfg)
	r.answers("/readyz", 503, "joining the cluster", "wrong secretKey")
	write("secretKey", strconv.Itoa(int(renewed.Load())))
	if err := r.ended(); !errors.Is(err, errRenewed) {
		t.Errorf("ended with %v", err)
	}
}
