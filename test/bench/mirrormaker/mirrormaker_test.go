package mirrormaker

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandRunsTheWorkerWithItsConfiguration(t *testing.T) {
	w := Worker{ClassPath: "/lib/*", Dir: t.TempDir(), Kafka: "k:9092", Port: 8083}
	cmd, err := w.Command()
	if err != nil {
		t.Fatal(err)
	}
	path := cmd.Args[len(cmd.Args)-1]
	if want := []string{
		"-cp",
		"/lib/*",
		"org.apache.kafka.connect.cli.ConnectStandalone",
		path,
	}; !slices.Equal(
		cmd.Args[len(cmd.Args)-4:],
		want,
	) {
		t.Errorf("arguments end with %q, want %q", cmd.Args[len(cmd.Args)-4:], want)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bootstrap.servers=k:9092\n",
		"listeners=http://127.0.0.1:8083\n", "offset.storage.file.filename=" + w.Dir + "/offsets\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the configuration lacks %q:\n%s", want, text)
		}
	}
}

// fake is a worker's REST interface that gives one answer.
func fake(t *testing.T, status int, answer string) (w Worker, asked *[]string) {
	asked = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+string(body))
		out.WriteHeader(status)
		_, _ = io.WriteString(out, answer)
	}))
	t.Cleanup(server.Close)
	return Worker{Kafka: "k:9092", Alias: "us", Port: server.Listener.Addr().(*net.TCPAddr).Port}, asked
}

func TestCreateMirrorsTheTopicToItsTarget(t *testing.T) {
	w, asked := fake(t, http.StatusCreated, "{}")
	if err := w.Create(context.Background(), "m1", Job{From: "orders", To: Target("them-7", "orders")}); err != nil {
		t.Fatal(err)
	}
	body, ok := strings.CutPrefix((*asked)[0], "PUT /connectors/m1/config ")
	if !ok {
		t.Fatalf("asked %q", *asked)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"topics": "orders", "source.cluster.alias": "them-7", "target.cluster.alias": "us", "tasks.max": "1"}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
	}
}

func TestFailure(t *testing.T) {
	for name, tc := range map[string]struct {
		status  int
		answer  string
		wantErr string
	}{
		"all runs":                      {http.StatusOK, `{"connector":{"state":"RUNNING"},"tasks":[{"state":"RUNNING"}]}`, ""},
		"its tasks are not there yet":   {http.StatusOK, `{"connector":{"state":"RUNNING"},"tasks":[]}`, ""},
		"nothing is known of it yet":    {http.StatusNotFound, `{"error_code":404}`, ""},
		"the connector failed":          {http.StatusOK, `{"connector":{"state":"FAILED","trace":"no broker"}}`, "no broker"},
		"a task failed":                 {http.StatusOK, `{"tasks":[{"state":"RUNNING"},{"state":"FAILED","trace":"no topic"}]}`, "no topic"},
		"the worker is in trouble":      {http.StatusInternalServerError, "broken", "broken"},
		"the worker answers with prose": {http.StatusOK, "hello", "reading"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := fake(t, tc.status, tc.answer)
			err := w.Failure(context.Background(), "m1")
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("got %v, want one about %q", err, tc.wantErr)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	w, asked := fake(t, http.StatusOK, `{"version":"3.9.1","commit":"x"}`)
	got, err := w.Version(context.Background())
	if got != "3.9.1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if diff := cmp.Diff([]string{"GET / "}, *asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	w, _ = fake(t, http.StatusNotFound, "starting")
	if _, err := w.Version(context.Background()); err == nil {
		t.Error("a worker that is not ready has a version")
	}
}
