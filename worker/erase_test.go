package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors"
	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

const erasedPassword = "hunter2-of-the-deleted"

// vault is a source whose password is in its config, in what its tasks have besides, and in what its tasks say: as
// connectors do that make an address of it.
type vault struct{}

func (vault) Spec() connector.Spec {
	return connector.Spec{Class: "Vault", Kind: connector.KindSource, Keys: []connector.Key{
		{Name: "vault.password", Type: connector.String, Secret: true}, {Name: "vault.address", Type: connector.String, Secret: true},
	}}
}

func (vault) Validate(connector.Config) error { return nil }

func (vault) Tasks(_ context.Context, cfg connector.Config, _ int) ([]connector.Config, error) {
	return []connector.Config{{"vault.address": "db://me:" + cfg["vault.password"] + "@host"}}, nil
}

func (vault) NewSource() connector.Source { return &vaultSource{} }

type vaultSource struct{}

func (*vaultSource) Open(_ context.Context, _ connector.Env, cfg connector.Config, _ record.Positions) error {
	if strings.Contains(cfg["vault.address"], erasedPassword) {
		return errors.New("refused: " + cfg["vault.address"])
	}
	return nil
}

func (*vaultSource) Poll(ctx context.Context) ([]record.Record, error) {
	<-ctx.Done()
	return nil, nil
}

func (*vaultSource) Close(context.Context) error { return nil }

// newcomers are the folds of a worker that reads the stores for the first time.
func newcomers(topics config.Topics) map[string]keyedlog.Fold {
	return map[string]keyedlog.Fold{
		topics.Config:   storefold.NewConfigs(),
		topics.Position: storefold.NewProgress(),
		topics.Offset:   storefold.NewProgress(),
		topics.Status:   storefold.NewStatuses(),
	}
}

// traces names what of the internal topics' newest state holds a text: what a newcomer folds, the last record of each
// key, and everything of the cluster log.
func traces(t *testing.T, client *rmq.Client, topics config.Topics, text string) (out []string) {
	t.Helper()
	folds := newcomers(topics)
	for _, topic := range []string{topics.Cluster, topics.Config, topics.Position, topics.Offset, topics.Status} {
		last := map[string]string{}
		_, err := client.Log(rmq.Queue{Topic: topic, Broker: "broker-a"}).Read(t.Context(), 0, func(e rmq.Entry) error {
			if f := folds[topic]; f != nil {
				_, _ = f.Apply(e)
				last[e.Key] = string(e.Value)
			} else {
				last[e.Key] += string(e.Value)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range last {
			if strings.Contains(value, text) {
				out = append(out, topic+" last record of "+key)
			}
		}
		if f := folds[topic]; f != nil {
			for _, key := range f.Keys() {
				if value, _ := f.Current(key); strings.Contains(string(value), text) {
					out = append(out, topic+" newest "+key)
				}
			}
		}
	}
	return out
}

// filesWith names the files below a folder that hold a text.
func filesWith(t *testing.T, dir, text string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil // a file that is just being replaced
		}
		data, readErr := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			out = append(out, path)
		}
		if errors.Is(readErr, fs.ErrNotExist) {
			readErr = nil
		}
		return errors.Join(err, readErr)
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *run) remove(name string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(
		r.t.Context(),
		http.MethodDelete,
		fmt.Sprintf("http://127.0.0.1:%d/api/v1/connectors/%s", r.cfg.HTTPPort, name),
		nil,
	)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= 300 {
		r.t.Fatalf("deleting %s is answered with %d", name, resp.StatusCode)
	}
}

func TestADeletedConnectorLeavesNothing(t *testing.T) {
	broker := rmqtest.Start(t)
	client := open(t, broker)
	var runs []*run
	for _, id := range []string{"w1", "w2", "w3"} {
		cfg := configFor(t, broker.NameServer())
		cfg.WorkerID = id
		runs = append(runs, startWith(t, cfg, connectors.Of(vault{}), 0))
	}
	topics := runs[0].cfg.Topics
	for _, r := range runs {
		r.answers("/getClusterInfo", 200, `["w1","w2","w3"]`)
	}
	runs[0].connects("c", "Vault", `"vault.password":"`+erasedPassword+`"`)
	runs[1].answers("/api/v1/connectors/c/status", 200, "refused: ") // its task was published, ran, and told why it failed
	held := func() (n int) {
		for _, r := range runs {
			n += len(filesWith(t, r.cfg.StoreDir, erasedPassword))
		}
		return n
	}
	runs[0].eventually("config and task set are in all workers' files", func() bool { return held() >= 6 })
	if len(traces(t, client, topics, erasedPassword)) == 0 {
		t.Fatal("the topics never held the password")
	}

	runs[2].remove("c")
	runs[0].eventually("no worker's file holds the password", func() bool { return held() == 0 })
	runs[0].eventually(
		"no topic's newest state holds the password",
		func() bool { return len(traces(t, client, topics, erasedPassword)) == 0 },
	)

	runs[0].stop()
	if err := runs[0].ended(); err != nil {
		t.Error(err)
	}
	runs[0] = startWith(t, runs[0].cfg, connectors.Of(vault{}), 0)
	runs[0].answers("/readyz", 200)
	runs[0].answers("/api/v1/connectors/c", 404)
	runs[0].connects("c", "Vault", `"vault.password":"another"`)
	runs[1].answers("/api/v1/connectors/c/status", 200, `"tasks":[{"id":0,"state":"Running"`)
	for _, r := range runs {
		if found := filesWith(t, r.cfg.StoreDir, erasedPassword); found != nil {
			t.Errorf("%s is back in %v", erasedPassword, found)
		}
	}
}
