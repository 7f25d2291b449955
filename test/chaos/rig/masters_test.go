package rig

import (
	"errors"
	"testing"
)

func TestTheMasterIsWhomTheNameServerSaysBrokerZeroIs(t *testing.T) {
	topology, err := Named(Controller)
	if err != nil {
		t.Fatal(err)
	}
	s := &Stack{Topology: topology, Base: 35000}
	cases := map[string]struct {
		body       string
		want       string
		wantListed bool // the second broker is
	}{
		"the first is": {
			`{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:35011",2:"127.0.0.1:35016"}}}}`,
			"rocketmq-broker-a-1",
			true,
		},
		"the second is":    {`{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:35016"}}}}`, "rocketmq-broker-a-2", true},
		"none is elected":  {`{"brokerAddrTable":{"broker-a":{"brokerAddrs":{1:"127.0.0.1:35011"}}}}`, "", false},
		"another one is":   {`{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"127.0.0.1:36011"}}}}`, "", false},
		"none is there":    {`{"brokerAddrTable":{}}`, "", false},
		"it is no cluster": {`{`, "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := s.masterIn([]byte(tc.body), "broker-a")
			if got.Process != tc.want || (err == nil) != (tc.want != "") {
				t.Errorf("got %q, %v, want %q", got.Process, err, tc.want)
			}
			if listed := s.listedIn([]byte(tc.body), s.Brokers[1]); listed != tc.wantListed {
				t.Errorf("the second is listed: %t, want %t", listed, tc.wantListed)
			}
		})
	}
	if _, err := (&Stack{}).ReplicaOf(Broker{}); !errors.Is(err, errProcess) {
		t.Errorf("the replica of a lonely broker: got %v", err)
	}
}

func TestThePIDIsReadFromTheTableOfTheStack(t *testing.T) {
	const table = "NAME STATE PID\nrocketmq-broker-a running 41 x\nrocketmq-broker-a-slave running 42 y\nkafka stopped -\n"
	for process, want := range map[string]int{"rocketmq-broker-a": 41, "rocketmq-broker-a-slave": 42, "kafka": 0, "rocketmq-broker": 0} {
		if got, ok := pidIn(table, process); got != want || ok != (want > 0) {
			t.Errorf("%s: got %d, %t, want %d", process, got, ok, want)
		}
	}
}

func TestTheControllerTellsHowManyItMayElect(t *testing.T) {
	cases := map[string]struct {
		body string
		want int
	}{
		"both": {
			`{"replicasInfoTable":{"broker-a":{"inSyncReplicas":[{"brokerId":1},{"brokerId":2}],"notInSyncReplicas":[]}}}`,
			2,
		},
		"one": {
			`{"replicasInfoTable":{"broker-a":{"inSyncReplicas":[{"brokerId":1}],"notInSyncReplicas":[{"brokerId":2}]}}}`,
			1,
		},
		"it does not know the name": {`{"replicasInfoTable":{}}`, 0},
	}
	for name, tc := range cases {
		if got, err := inSync([]byte(tc.body), "broker-a"); got != tc.want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, tc.want)
		}
	}
}
