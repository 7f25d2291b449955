package worker

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// The keys of connect.conf reach the listener, and what cannot be used ends the worker before it does anything.
func TestAWorkerSpeaksTLSAsItsConfigurationSays(t *testing.T) {
	cfg := configFor(t, rmqtest.Start(t).NameServer())
	ours, callers, dir := certtest.New(t), certtest.New(t), t.TempDir()
	pair := ours.Issue("localhost", time.Now(), time.Now().Add(time.Hour))
	cfg.HTTPTLSCert, cfg.HTTPTLSKey = certtest.Write(t, dir, "tls.crt", pair.Cert), certtest.Write(t, dir, "tls.key", pair.Key)
	cfg.HTTPTLSClientCA = certtest.Write(t, dir, "ca.crt", callers.PEM)
	cfg.ProbePort = configFor(t, "").HTTPPort
	ask := func(by *certtest.Authority) error {
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: ours.Client(by), DisableKeepAlives: true}}
		_, err := restclient.New("https://localhost:"+strconv.Itoa(cfg.HTTPPort), "", c).Cluster(t.Context())
		return err
	}
	r := start(t, cfg)
	r.cfg.HTTPPort = cfg.ProbePort // of what answers asks: probes stay plain
	r.answers("/readyz", 200, "ok")
	if err := ask(callers); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	if err := ask(nil); err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without one: %v", err)
	}
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	certtest.Write(t, dir, "tls.key", nil)
	if err := start(t, cfg).ended(); err == nil || !strings.Contains(err.Error(), "reading httpTlsKey: "+cfg.HTTPTLSKey) {
		t.Errorf("with an empty key: %v", err)
	}
}
