package worker

import (
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestAWorkerReachesRocketMQByTLS(t *testing.T) {
	ca, dir := certtest.New(t), t.TempDir()
	server := ca.Server("rocketmq.test")
	broker := rmqtest.Start(t, rmqtest.WithTLS(server, server))
	path := certtest.Write(t, dir, "ca.pem", ca.PEM)

	plain := start(t, configFor(t, broker.NameServer()))
	plain.answers("/readyz", 503, "RocketMQ cannot be reached", "name server 127.0.0.1:", "set tlsEnable=true")
	plain.answers("/healthz", 200)
	plain.stop()
	if err := plain.ended(); err != nil {
		t.Error(err)
	}

	cfg := configFor(t, broker.NameServer())
	cfg.TLSEnable, cfg.TLSCA, cfg.TLSServerName = true, path, "rocketmq.test"
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")

	// Files that are of no use later are told of, and those of before count.
	certtest.Write(t, dir, "ca.pem", []byte("half"))
	r.answers("/readyz", 200, "ok", "new connections to RocketMQ are made with the TLS files as they were before", path+": not PEM")
	broker.StopNameServer() // so that connections are made
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	r.answers("/readyz", 200, "ok")
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

func TestAWorkerEndsOnFilesOfTLSThatAreOfNoUse(t *testing.T) {
	ca, dir := certtest.New(t), t.TempDir()
	old := ca.Issue("worker", time.Now().Add(-time.Hour), time.Now().Add(-time.Minute))
	cfg := configFor(t, "127.0.0.1:1")
	cfg.TLSEnable = true
	cfg.TLSCert, cfg.TLSKey = certtest.Write(t, dir, "cert.pem", old.Cert), certtest.Write(t, dir, "key.pem", old.Key)
	if err := start(
		t,
		cfg,
	).ended(); err == nil || !strings.Contains(err.Error(), "tlsCert: "+cfg.TLSCert+": the certificate of ") ||
		!strings.Contains(err.Error(), "has expired at ") {
		t.Errorf("got %v", err)
	}
}
