package rmq_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/rmq/tlsdial"
)

// Each of the two, a name server and a broker, with TLS where it is not expected and without where it is.
func TestTLSAtOneEndOnlyIsTold(t *testing.T) {
	ca := certtest.New(t)
	server := ca.Server("rocketmq.test")
	files := &tlsdial.Files{CA: certtest.Write(t, t.TempDir(), "ca.pem", ca.PEM)}
	const plain, secure = "set tlsEnable=false", "set tlsEnable=true"
	cases := map[string]struct {
		nameServer, masters *tls.Config
		files               *tlsdial.Files
		want                []string
	}{
		"both have it":                    {server, server, files, nil},
		"both have none":                  {nil, nil, nil, nil},
		"the name server alone has it":    {server, nil, nil, []string{"name server 127.0.0.1:", secure}},
		"the broker alone has it":         {nil, server, nil, []string{"broker broker-a at 127.0.0.1:", secure}},
		"the name server alone has none":  {nil, server, files, []string{"name server 127.0.0.1:", plain}},
		"the broker alone has none":       {server, nil, files, []string{"broker broker-a at 127.0.0.1:", plain}},
		"a client of another CA than all": {server, server, &tlsdial.Files{}, []string{"name server 127.0.0.1:", "set tlsCA"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := rmqtest.Start(t, rmqtest.WithTLS(tc.nameServer, tc.masters))
			c, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, TLS: tc.files})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			q, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{})
			if tc.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Log(q).Append(t.Context(), rmq.Entry{Key: "a", Value: []byte("1")}); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, rmq.ErrUnreachable) {
				t.Fatalf("got %v", err)
			}
			for _, text := range tc.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("got  %v\nwant %q", err, text)
				}
			}
		})
	}
}

func TestOpenReadsTheFilesOfTLS(t *testing.T) {
	_, err := rmq.Open(rmq.Config{NameServers: []string{"a:1"}, TLS: &tlsdial.Files{CA: "/nowhere/ca.pem"}})
	if err == nil || !strings.Contains(err.Error(), "tlsCA: open /nowhere/ca.pem") {
		t.Errorf("got %v", err)
	}
}

// Not every server that takes TLS only hangs up: some send an alert.
func TestAnAlertOfAServerThatTakesTLSOnlyIsTold(t *testing.T) {
	c, err := rmq.Open(rmq.Config{NameServers: []string{"namesrv:9876"}, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			defer theirs.Close()
			_, _ = theirs.Read(make([]byte, 1<<10))
			_, _ = theirs.Write([]byte("\x15\x03\x03\x00\x02\x02\x46"))
		}()
		return ours, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Brokers(
		t.Context(),
	); err == nil ||
		!strings.Contains(
			err.Error(),
			"name server namesrv:9876 unreachable: it answers in another protocol than RocketMQ's; if that is TLS, set tlsEnable=true",
		) {
		t.Errorf("got %v", err)
	}
}
