package worker

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
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

// The commands of the user's documents, by curl on the machine: neither a token nor httpHost is set.
func TestTheDocumentsCommandsWorkOnTheMachine(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl here")
	}
	addresses := []string{"127.0.0.1", "localhost"}
	if own := interfaceIP(); own != "" {
		addresses = append(addresses, own) // as the worker's id has it
	}
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	cfg.HTTPHost = ""
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	for _, address := range addresses {
		for _, command := range [][2]string{
			{"/getClusterInfo", fmt.Sprintf("@%d", cfg.HTTPPort)},
			{`/connectors/create/kafkaSource?config={"tasks.num":"4","kafka.topics":"kafkaconnect",` +
				`"kafka.bootstrap.server":"127.0.0.1:1"}`, "success"},
			{"/getConnectors/kafkaSource", `"kafka.topics":"kafkaconnect"`},
			{"/connectors/single/kafkaSource/disable", "success"},
			{"/getConnectorsStatus/kafkaSource", "disabled"},
			{"/connectors/all/remove", "success"},
		} {
			out, err := exec.CommandContext(
				t.Context(),
				curl,
				"-sS",
				"-g",
				"--noproxy",
				"*",
				fmt.Sprintf("http://%s:%d%s", address, cfg.HTTPPort, command[0]),
			).CombinedOutput()
			if err != nil || !strings.Contains(string(out), command[1]) {
				t.Errorf("curl %s by %s: %s %v, want %s", command[0], address, out, err, command[1])
			}
		}
	}
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
	r.eventually("it is ready", func() bool { code, _ := r.ask(cfg.ProbePort, "/readyz", "any.example"); return code == 200 })
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
