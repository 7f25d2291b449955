package rest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// sameSource is a PUT of what world.source stores.
const sameSource = `{"config":{"tasks.num":"2","kafka.topics":"a,b","kafka.bootstrap.server":"h:1","login":"hunter2",` +
	`"kafka.client.password":"pw"}}`

// changed is what world.source stores, with changes of somebody else that come after.
func changed(change func(*store.Connector)) func(*world) {
	return func(w *world) {
		c := w.source("src")
		c.Revision = 8
		change(&c)
		w.configs.Set(c)
	}
}

func TestAnswersWithoutAWriteAreMadeOfAllThatIsStored(t *testing.T) {
	const src = connectorsPath + "/src"
	none := func(*world) {}
	running := func(w *world) { w.source("src") }
	created := changed(func(*store.Connector) {})
	stopped := changed(func(c *store.Connector) { c.State = states.WantStopped })
	elsewhere := changed(func(c *store.Connector) {
		c.Config = map[string]string{"kafka.topics": "c", "kafka.bootstrap.server": "h:1"}
	})
	gone := changed(func(c *store.Connector) { c.Deleted, c.Config = true, nil })
	noTasks := func(w *world) {
		c := w.source("src")
		c.Tasks = nil
		w.configs.Set(c)
	}
	is := func(state states.Wanted, topics string) func(store.Connector) bool {
		return func(c store.Connector) bool {
			return !c.Deleted && c.State == state && c.Config["kafka.topics"] == topics && c.Revision > 8
		}
	}
	deleted := func(c store.Connector) bool { return c.Deleted && c.Revision > 8 }
	restarted := func(task int) func(store.Connector) bool {
		return func(c store.Connector) bool { return c.Restarts[task] != "" }
	}
	cases := map[string]struct {
		known, stored        func(*world) // what the worker has read, and what is stored
		method, target, body string
		header               []string
		wantCode             int
		want                 func(store.Connector) bool
	}{
		"resumed after another worker stopped it":  {running, stopped, "POST", src + "/resume", "", nil, 200, is(states.WantRunning, "a,b")},
		"set back after another worker changed it": {running, elsewhere, "PUT", src, sameSource, nil, 200, is(states.WantRunning, "a,b")},
		"deleted after another worker created it":  {none, created, "DELETE", src, "", nil, 204, deleted},
		"paused after another worker created it":   {none, created, "POST", src + "/pause", "", nil, 200, is(states.WantPaused, "a,b")},
		"a masked secret that another worker stored": {none, created, "PUT", src,
			`{"config":{"kafka.topics":"c","kafka.bootstrap.server":"h:1","login":"********"}}`, nil, 200,
			func(c store.Connector) bool { return c.Config["login"] == "hunter2" && c.Config["kafka.topics"] == "c" }},
		"replaced at the revision that another worker stored": {
			running,
			elsewhere,
			"PUT",
			src,
			strings.Replace(sameSource, "a,b", "d", 1),
			[]string{`If-Match: "8"`},
			200,
			is(states.WantRunning, "d"),
		},
		"created after another worker deleted it": {
			running,
			gone,
			"POST",
			connectorsPath,
			strings.Replace(validSource, `"n"`, `"src"`, 1),
			nil,
			201,
			is(states.WantRunning, "t"),
		},
		"restarted after another worker resumed it": {stopped, running, "POST", src + "/restart", "", nil, 202, restarted(-1)},
		"a task restarted that is there since":      {noTasks, created, "POST", src + "/tasks/1/restart", "", nil, 202, restarted(1)},
		"an older route enables what was stopped": {
			running,
			stopped,
			"GET",
			"/connectors/single/src/enable",
			"",
			nil,
			200,
			is(states.WantRunning, "a,b"),
		},
		"an older route disables all, the new too": {
			none,
			created,
			"GET",
			"/connectors/all/disable",
			"",
			nil,
			200,
			is(states.WantStopped, "a,b"),
		},
		"an older route removes what is new": {none, created, "GET", "/connectors/single/src/remove", "", nil, 200, deleted},
		"an older route updates to what was before": {
			running,
			elsewhere,
			"GET",
			`/connectors/update/src?config={"kafka.topics":"a,b"}`,
			"",
			nil,
			200,
			is(states.WantRunning, "a,b"),
		},
		"an older route sets the tasks of the new": {
			none,
			created,
			"GET",
			"/connectors/taskNum/src/3",
			"",
			nil,
			200,
			func(c store.Connector) bool { return c.Config["tasks.num"] == "3" },
		},
		"an older route creates what is there as it": {
			none,
			elsewhere,
			"GET",
			`/connectors/create/src?config={"kafka.topics":"c","kafka.bootstrap.server":"h:1"}`,
			"",
			nil,
			200,
			func(c store.Connector) bool { return c.Revision == 8 },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			tc.known(w)
			w.configs.Unread = func() { tc.stored(w) }
			rec := w.do(tc.method, tc.target, tc.body, tc.header...)
			if rec.Code != tc.wantCode {
				t.Errorf("got %d %s, want %d", rec.Code, rec.Body, tc.wantCode)
			}
			if w.configs.Unread != nil {
				t.Error("it answered without having read what is stored")
			}
			if c := w.configs.Held["src"]; !tc.want(c) {
				t.Errorf("stored: %+v", c)
			}
		})
	}
}

func TestOnlyAnswersWithoutAWriteWaitForRocketMQ(t *testing.T) {
	const src = connectorsPath + "/src"
	cases := map[string]struct {
		method, target, body string
		header               []string
		wantCode             int
	}{
		"reading":                       {"GET", src, "", nil, 200},
		"reading what is not there":     {"GET", connectorsPath + "/n", "", nil, 404},
		"reading by an older route":     {"GET", "/getConnectors/n", "", nil, 404},
		"creating":                      {"POST", connectorsPath, validSource, nil, 201},
		"pausing":                       {"POST", src + "/pause", "", nil, 200},
		"restarting":                    {"POST", src + "/restart", "", nil, 202},
		"changing":                      {"PUT", src, strings.Replace(sameSource, "a,b", "c", 1), nil, 200},
		"deleting":                      {"DELETE", src, "", nil, 204},
		"a request that is refused":     {"PUT", src, `{"config":{"kafka.topics":"c"}}`, nil, 422},
		"creating what is there":        {"POST", connectorsPath, strings.Replace(validSource, `"n"`, `"src"`, 1), nil, 503},
		"resuming what runs":            {"POST", src + "/resume", "", nil, 503},
		"resuming what is not there":    {"POST", connectorsPath + "/n/resume", "", nil, 503},
		"replacing by the same":         {"PUT", src, sameSource, nil, 503},
		"replacing another revision":    {"PUT", src, strings.Replace(sameSource, "a,b", "c", 1), []string{`If-Match: "6"`}, 503},
		"deleting what is not there":    {"DELETE", connectorsPath + "/n", "", nil, 503},
		"an older route that changes":   {"GET", "/connectors/single/src/enable", "", nil, 503},
		"an older route that makes all": {"GET", "/connectors/all/enable", "", nil, 503},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("src")
			w.configs.Unsynced = fmt.Errorf("asking: %w", rmq.ErrUnreachable)
			if rec := w.do(tc.method, tc.target, tc.body, tc.header...); rec.Code != tc.wantCode {
				t.Errorf("got %d %s, want %d", rec.Code, rec.Body, tc.wantCode)
			}
		})
	}
}

// late has a worker asked that lags behind what the others did since it was held; it reads on once it has begun to
// answer.
func (p *peer) late(method, target, body string) *httptest.ResponseRecorder {
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { answered <- p.do(method, target, body) }()
	synctest.Wait()
	p.release()
	rec := <-answered
	synctest.Wait()
	return rec
}

func TestAWorkerThatLagsCarriesOutWhatItIsAskedFor(t *testing.T) {
	const one = connectorsPath + "/n"
	source := func(topics, login string) string {
		return fmt.Sprintf(
			`{"name":"n","class":"KafkaSource","config":{"kafka.topics":%q,"kafka.bootstrap.server":"h:1","login":%q}}`,
			topics,
			login,
		)
	}
	first := source("t", "old")
	cases := map[string]struct {
		before, meanwhile    [][3]string // requests to the worker that does not lag
		method, target, body string
		wantCode             int
		want                 string // of the connector, as the worker that did not lag has it; empty: gone
	}{
		"paused by one, resumed by the other": {[][3]string{{"POST", connectorsPath, first}}, [][3]string{{"POST", one + "/pause"}},
			"POST", one + "/resume", "", 200, "3 Running t old"},
		"changed by one, set back by the other": {[][3]string{{"POST", connectorsPath, first}}, [][3]string{{"PUT", one, source("t2", "old")}},
			"PUT", one, first, 200, "3 Running t old"},
		"created by one, deleted by the other": {nil, [][3]string{{"POST", connectorsPath, first}}, "DELETE", one, "", 204, ""},
		"deleted by one, created by the other": {[][3]string{{"POST", connectorsPath, first}}, [][3]string{{"DELETE", one}},
			"POST", connectorsPath, first, 201, "3 Running t old"},
		"a secret changed by one, masked by the other": {
			[][3]string{{"POST", connectorsPath, first}},
			[][3]string{{"PUT", one, source("t", "new")}},
			"PUT",
			one,
			source("t2", restapi.Mask),
			200,
			"3 Running t2 new",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := new(topics)
				ahead, behind := shared.peer(t), shared.peer(t)
				send := func(requests [][3]string) {
					for _, r := range requests {
						if rec := ahead.do(r[0], r[1], r[2]); rec.Code >= 300 {
							t.Errorf("%s %s: %d %s", r[0], r[1], rec.Code, rec.Body)
						}
					}
					synctest.Wait()
				}
				send(tc.before)
				behind.hold()
				send(tc.meanwhile)
				if rec := behind.late(tc.method, tc.target, tc.body); rec.Code != tc.wantCode {
					t.Errorf("got %d %s, want %d", rec.Code, rec.Body, tc.wantCode)
				}
				got := ""
				if c, ok := ahead.stores.Configs().Get("n"); ok {
					got = fmt.Sprintf("%d %s %s %s", c.Revision, c.State, c.Config["kafka.topics"], c.Config["login"])
				}
				if got != tc.want {
					t.Errorf("stored: %q, want %q", got, tc.want)
				}
			})
		})
	}
}

func TestAWorkerThatCannotReadTheNewestSaysSoInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(topics)
		ahead, behind := shared.peer(t), shared.peer(t)
		ahead.want(http.StatusCreated, "POST", connectorsPath, validSource)
		synctest.Wait()
		behind.hold()
		ahead.want(http.StatusOK, "POST", connectorsPath+"/n/pause", "")
		start := time.Now()
		behind.want(http.StatusGatewayTimeout, "POST", connectorsPath+"/n/resume", "")
		if took := time.Since(start); took != writeTimeout {
			t.Errorf("it answered after %s, want %s", took, writeTimeout)
		}
		behind.want(http.StatusOK, "GET", connectorsPath+"/n", "")
		behind.release()
		behind.want(http.StatusOK, "POST", connectorsPath+"/n/resume", "")
		synctest.Wait()
		if c, _ := ahead.stores.Configs().Get("n"); c.State != states.WantRunning {
			t.Errorf("stored: %+v", c)
		}
	})
}

func TestAMaskedSecretIsThatOfTheRevisionThatIsReplaced(t *testing.T) {
	const masked = `{"config":{"kafka.topics":"c","kafka.bootstrap.server":"h:1","login":"********"}}`
	rotate := func(c *store.Connector) {
		if c.Revision == 7 {
			c.Revision, c.Config = 8, map[string]string{"kafka.topics": "a,b", "kafka.bootstrap.server": "h:1", "login": "rotated"}
		}
	}
	cases := map[string]struct {
		body       string
		header     []string
		race       func(*store.Connector)
		wantCode   int
		wantDetail string // part of the answer
		wantLogin  string // "": what is stored does not matter
	}{
		"somebody else changes the secret meanwhile": {masked, nil, rotate, 200, `"revision":11`, "rotated"},
		"any revision is all right":                  {masked, []string{"If-Match: *"}, rotate, 200, `"revision":11`, "rotated"},
		"the caller states the revision":             {masked, []string{`If-Match: "7"`}, rotate, 412, "at revision 8", "rotated"},
		"the secret is sent": {
			strings.Replace(masked, restapi.Mask, "mine", 1),
			nil,
			rotate,
			200,
			`"revision":11`,
			"mine",
		},
		"the connector is deleted meanwhile": {
			masked,
			nil,
			func(c *store.Connector) { c.Deleted, c.Config = true, nil },
			422,
			"send the value",
			"",
		},
		"somebody else changes the connector again and again": {
			masked,
			nil,
			func(c *store.Connector) { c.Revision++ },
			409,
			"read it, apply the change to that",
			"hunter2",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("src")
			w.configs.Race = tc.race
			rec := w.do("PUT", connectorsPath+"/src", tc.body, tc.header...)
			if rec.Code != tc.wantCode || !strings.Contains(rec.Body.String(), tc.wantDetail) {
				t.Errorf("got %d %s, want %d and %q", rec.Code, rec.Body, tc.wantCode, tc.wantDetail)
			}
			if c := w.configs.Held["src"]; tc.wantLogin != "" && c.Config["login"] != tc.wantLogin {
				t.Errorf("stored: %+v", c)
			}
		})
	}
}

// Somebody deletes a connector and keeps its positions, right before the write of a request that states another
// revision.
func TestAStatedRevisionHoldsThoughTheConnectorIsDeletedMeanwhile(t *testing.T) {
	cases := map[string]struct{ method, path, body string }{
		"deleted":                           {"DELETE", "", ""},
		"deleted, keeping its positions":    {"DELETE", "?positions=keep", ""},
		"paused":                            {"POST", "/pause", ""},
		"given a state":                     {"PUT", "/state", `{"state":"Stopped"}`},
		"replaced, with a secret as a mask": {"PUT", "", `{"config":{"kafka.topics":"c","kafka.bootstrap.server":"h:1","login":"********"}}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("s")
			w.positions.Held["s"] = record.Positions{"a": "1"}
			w.configs.Race = func(c *store.Connector) { c.Deleted, c.Config, c.Revision, c.Epoch = true, nil, 9, 9 }
			rec := w.do(tc.method, "/api/v1/connectors/s"+tc.path, tc.body, `If-Match: "7"`)
			if rec.Code != http.StatusPreconditionFailed || len(w.positions.Forgotten) > 0 {
				t.Errorf("%d %s, positions forgotten: %v", rec.Code, rec.Body, w.positions.Forgotten)
			}
		})
	}
}
