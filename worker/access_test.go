package worker

import (
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// ask sends a GET to a port of the worker by a host name.
func (r *run) ask(port int, path, host string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://127.0.0.1:"+strconv.Itoa(port)+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = host
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestAWorkerIsCalledByItsNamesAndProbedOnAPortOfItsOwn(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg, other := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
	cfg.HTTPHost, cfg.ProbePort = "", other.HTTPPort
	cfg.AdvertisedAddress, cfg.HTTPHostNames = "worker-1.example.com:8082", []string{"connect.example.com"}
	r := start(t, cfg)
	r.answers("/getClusterInfo", 200, "worker-1.example.com@")
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	port := ":" + strconv.Itoa(cfg.HTTPPort)
	for host, want := range map[string]int{
		"127.0.0.1" + port: 200, "localhost" + port: 200, machine + port: 200, "worker-1.example.com" + port: 200, "connect.example.com": 200,
		"evil.example" + port: 403, "worker-2.example.com" + port: 403,
	} {
		if code, body := r.ask(cfg.HTTPPort, "/getClusterInfo", host); code != want {
			t.Errorf("called by %s it answers %d %s", host, code, body)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/getClusterInfo": 404} {
		if code, body := r.ask(cfg.ProbePort, path, "any.example"); code != want {
			t.Errorf("%s on the port of the probes: %d %s", path, code, body)
		}
		if code, _ := r.ask(cfg.HTTPPort, path, "localhost"); (code == 200) == (want == 200) {
			t.Errorf("%s on the port of the API: %d", path, code)
		}
	}
	if got := r.log.String(); !strings.Contains(got, "callers on this machine are answered, others get 403") {
		t.Errorf("log: %s", got)
	}
}
