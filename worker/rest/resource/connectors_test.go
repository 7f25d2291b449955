package resource

import (
	"context"
	"errors"
	"testing"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/resttest"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Every change is decided on what is held, and begun again on what is stored where that leads to no write: no more
// often, and nowhere else.
func TestAChangeIsBegunAgainWhereWhatIsHeldIsOld(t *testing.T) {
	stored := func(topics string, revision int64) store.Connector {
		return store.Connector{Name: "c", State: states.WantRunning, Epoch: 1, Revision: revision,
			Config: map[string]string{"kafka.topics": topics, "kafka.bootstrap.server": "h:1", "login": "hunter2"}}
	}
	want := func(topics, login string) restapi.Connector {
		return restapi.Connector{Name: "c", Config: map[string]string{"kafka.topics": topics, "kafka.bootstrap.server": "h:1", "login": login}}
	}
	unstated := func(id string) Request { return Request{ID: id, Revision: AnyRevision} }
	at := func(revision int64) Request { return Request{ID: "r", Revision: revision, Stated: true} }
	replace := func(in restapi.Connector, req Request) func(*Connectors) error {
		return func(c *Connectors) error { _, err := c.Replace(context.Background(), in, req); return err }
	}
	state := func(state states.Wanted, req Request) func(*Connectors) error {
		return func(c *Connectors) error { _, err := c.SetState(context.Background(), "c", state, req); return err }
	}
	create := func(c *Connectors) error { _, err := c.Create(context.Background(), want("t", "l"), "r"); return err }
	remove := func(c *Connectors) error { return c.Remove(context.Background(), "c", false, unstated("r")) }
	broken := errors.New("broken")
	held, older := stored("t", 7), stored("t", 6)
	cases := map[string]struct {
		held, stored *store.Connector // stored: what Sync makes of it; nil: as it is held
		race         func(*store.Connector)
		err          error // of the store
		ask          func(*Connectors) error
		wantPuts     int
		wantSyncs    int
		wantErr      func(error) bool // nil: none
	}{
		"a write that is taken":           {held: &held, ask: replace(want("u", "l"), unstated("r")), wantPuts: 1},
		"a revision that is not read yet": {held: &older, stored: &held, ask: replace(want("u", "l"), at(7)), wantPuts: 2, wantSyncs: 1},
		"a revision that is gone":         {held: &held, ask: replace(want("u", "l"), at(6)), wantPuts: 2, wantSyncs: 1, wantErr: conflict},
		"what is so already":              {held: &held, ask: replace(want("t", "hunter2"), unstated("r")), wantSyncs: 1},
		"what was so": {
			held:      &older,
			stored:    ptr(stored("u", 7)),
			ask:       replace(want("t", "hunter2"), unstated("r")),
			wantPuts:  1,
			wantSyncs: 1,
		},
		"a config that is refused": {held: &held, ask: replace(want("panic", "l"), unstated("r")), wantErr: invalid},
		"a store that fails": {
			held:     &held,
			err:      broken,
			ask:      replace(want("u", "l"), unstated("r")),
			wantPuts: 1,
			wantErr:  is(broken),
		},
		"a masked secret":                      {held: &held, ask: replace(want("u", restapi.Mask), unstated("r")), wantPuts: 1},
		"a masked secret that is not here yet": {stored: &held, ask: replace(want("u", restapi.Mask), unstated("r")), wantPuts: 1, wantSyncs: 1},
		"a masked secret that changes once": {held: &held, race: func(c *store.Connector) { c.Revision = max(c.Revision, 8) },
			ask: replace(want("u", restapi.Mask), unstated("r")), wantPuts: 2, wantSyncs: 1},
		"a masked secret that changes each time": {held: &held, race: func(c *store.Connector) { c.Revision++ },
			ask: replace(want("u", restapi.Mask), unstated("r")), wantPuts: maxFills, wantSyncs: 1, wantErr: conflict},
		"a masked secret of a revision that changes": {held: &held, race: func(c *store.Connector) { c.Revision++ },
			ask: replace(want("u", restapi.Mask), at(7)), wantPuts: 2, wantSyncs: 1, wantErr: conflict},
		"a new connector":                  {ask: create, wantPuts: 1},
		"a new connector that is there":    {held: &held, ask: create, wantPuts: 2, wantSyncs: 1, wantErr: conflict},
		"another state":                    {held: &held, ask: state(states.WantPaused, unstated("r")), wantPuts: 1},
		"the same state":                   {held: &held, ask: state(states.WantRunning, unstated("r")), wantSyncs: 1},
		"the state of what is not there":   {ask: state(states.WantPaused, unstated("r")), wantSyncs: 1, wantErr: notFound},
		"the state of what is there since": {stored: &held, ask: state(states.WantPaused, unstated("r")), wantPuts: 1, wantSyncs: 1},
		"a deletion":                       {held: &held, ask: remove, wantPuts: 1},
		"a deletion of what is not there":  {ask: remove, wantSyncs: 1, wantErr: notFound},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			configs := resttest.NewConfigs()
			if tc.held != nil {
				configs.Set(*tc.held)
			}
			if tc.stored != nil {
				configs.Unread = func() { configs.Set(*tc.stored) }
			}
			configs.Race, configs.Err = tc.race, tc.err
			err := tc.ask(&Connectors{Configs: configs, Positions: resttest.NewProgress(), Offsets: resttest.NewProgress(), Log: logr.Discard(),
				Checker: &check.Checker{Classes: check.NewClasses(resttest.Kafka())}})
			if (err != nil) != (tc.wantErr != nil) || err != nil && !tc.wantErr(err) {
				t.Errorf("got %v", err)
			}
			if configs.Puts != tc.wantPuts || configs.Syncs != tc.wantSyncs {
				t.Errorf("%d writes and %d looks at what is stored, want %d and %d", configs.Puts, configs.Syncs, tc.wantPuts, tc.wantSyncs)
			}
		})
	}
}

func ptr(c store.Connector) *store.Connector { return &c }

func conflict(err error) bool {
	found := (*store.ConflictError)(nil)
	return errors.As(err, &found)
}

func notFound(err error) bool {
	p := (*restapi.Problem)(nil)
	return errors.As(err, &p) && p.Status == 404
}

func is(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
