package rmq

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// FuzzPulledMessages compares the decoder of pulls with one message decoded at a time.
func FuzzPulledMessages(f *testing.F) {
	one := remoting.AppendStored(nil, &remoting.Message{
		Offset: 4, Topic: []byte("t"), Body: []byte("b"), Properties: []byte("KEYS\x01k\x02a\x01b"),
	})
	f.Add(one)
	f.Add(append(bytes.Clone(one), "and what is no message"...))
	f.Add(remoting.AppendStored(bytes.Clone(one), &remoting.Message{Offset: 5, SysFlag: 1, Topic: []byte("t"), Body: []byte("not zlib")}))
	f.Add(remoting.AppendStored(bytes.Clone(one), &remoting.Message{Offset: 5, Topic: []byte("t"), Properties: []byte("\x01\x02\x02x\x01")}))
	f.Fuzz(func(t *testing.T, stored []byte) {
		got, whole, err := decodeMessages(Queue{Topic: "t"}, stored)
		var want []Received
		var failed error
		for rest := stored; len(rest) > 0; {
			var m remoting.Message
			if m, rest, failed = remoting.NextMessage(rest); failed != nil {
				break
			}
			body, damage := m.Plain()
			if damage != nil {
				body = m.Body
			}
			want = append(
				want,
				Received{Offset: m.Offset, NextOffset: m.Offset + 1, Body: body, Err: damage, Properties: slowProperties(m.Properties)},
			)
		}
		if (err != nil) != (len(want) == 0) || err == nil && whole != (failed == nil) {
			t.Fatalf("error %v, all of it: %t; want %d messages, then %v", err, whole, len(want), failed)
		}
		if len(got) != len(want) {
			t.Fatalf("%d messages, want %d", len(got), len(want))
		}
		for i := range got {
			if got[i].Offset != want[i].Offset || got[i].NextOffset != want[i].NextOffset || !bytes.Equal(got[i].Body, want[i].Body) ||
				(got[i].Err == nil) != (want[i].Err == nil) {
				t.Fatalf("message %d is %+v, want %+v", i, got[i], want[i])
			}
			if diff := cmp.Diff(want[i].Properties, append([]Property(nil), got[i].Properties...)); diff != "" {
				t.Fatalf("properties of message %d (-want +got):\n%s", i, diff)
			}
		}
	})
}

func slowProperties(wire []byte) (out []Property) {
	for _, p := range bytes.Split(wire, []byte{remoting.PropertyEnd}) {
		if name, value, ok := bytes.Cut(p, []byte{remoting.NameEnd}); ok && len(name) > 0 {
			out = append(out, Property{Name: string(name), Value: string(value)})
		}
	}
	return out
}

func FuzzRoutes(f *testing.F) {
	f.Add(
		[]byte(
			`{"brokerDatas":[{"brokerAddrs":{0:"h:1"},"brokerName":"b"}],"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":2,` +
				`"writeQueueNums":1}]}`,
		),
	)
	f.Add([]byte(`{"queueDatas":[{"perm":6,"readQueueNums":-1,"writeQueueNums":99999999}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRoute("t", body)
		if err != nil {
			return
		}
		for _, queues := range [][]Queue{r.queues, r.writable} {
			for i, q := range queues {
				if q.Topic != "t" || q.ID < 0 || i > 0 && compareQueues(queues[i-1], q) > 0 {
					t.Fatalf("queue %d is %v", i, q)
				}
			}
		}
	})
}

func FuzzReservedTime(f *testing.F) {
	f.Add([]byte("a=b\nfileReservedTime=48\r\n"))
	f.Add([]byte("fileReservedTime=9223372036854775807"))
	f.Fuzz(func(t *testing.T, config []byte) {
		if kept := reservedTime(config); kept <= 0 {
			t.Fatalf("kept for %s", kept)
		}
	})
}
