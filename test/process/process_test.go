package process

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

func TestAClusterIsWholeOnceAllSeeAllAndAllTasksRun(t *testing.T) {
	both := []restapi.Member{{Worker: "w1"}, {Worker: "w2"}}
	running := func(tasks ...string) restapi.ConnectorStatus {
		s := restapi.ConnectorStatus{Name: "c", State: restapi.StateRunning}
		for i, state := range tasks {
			s.Tasks = append(s.Tasks, restapi.TaskStatus{ID: i, State: state})
		}
		return s
	}
	paused := running(restapi.StateRunning)
	paused.State = restapi.StatePaused
	cases := map[string]struct {
		cluster   restapi.Cluster // as both workers see it
		connector restapi.ConnectorStatus
		want      error
	}{
		"all is well":                {restapi.Cluster{Joined: true, Members: both}, running(restapi.StateRunning), nil},
		"they have not joined":       {restapi.Cluster{Members: both}, running(restapi.StateRunning), ErrNotWhole},
		"they do not see each other": {restapi.Cluster{Joined: true, Members: both[:1]}, running(restapi.StateRunning), ErrNotWhole},
		"there is one more": {
			restapi.Cluster{Joined: true, Members: append(both[:2:2], both[0])},
			running(restapi.StateRunning),
			ErrNotWhole,
		},
		"a task does not run": {restapi.Cluster{Joined: true, Members: both}, running(restapi.StateFailed), ErrNotWhole},
		"a task is missing":   {restapi.Cluster{Joined: true, Members: both}, running(), ErrNotWhole},
		"there are too many tasks": {
			restapi.Cluster{Joined: true, Members: both},
			running(restapi.StateRunning, restapi.StateRunning),
			ErrNotWhole,
		},
		"the connector is paused": {restapi.Cluster{Joined: true, Members: both}, paused, ErrNotWhole},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Path == restapi.Prefix+"/cluster" {
					_ = json.NewEncoder(w).Encode(tc.cluster)
					return
				}
				_ = json.NewEncoder(w).Encode(tc.connector)
			}))
			t.Cleanup(server.Close)
			client := restclient.New(server.URL, "", server.Client())
			if err := Whole(t.Context(), []*restclient.Client{client, client}, map[string]int{"c": 1}); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestAWorkerThatDoesNotAnswerIsNoClusterThatIsNotWhole(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	client := restclient.New(server.URL, "", server.Client())
	if err := Whole(t.Context(), []*restclient.Client{client}, nil); err == nil || errors.Is(err, ErrNotWhole) {
		t.Errorf("got %v", err)
	}
}
