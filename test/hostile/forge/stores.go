package forge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// InStore is one kind of records of a store's topic; Make gives the i-th ones.
type InStore struct {
	Name string
	Make func(i int) []rmq.Entry
}

// The stores' topics.
const (
	Config   = "config"
	Position = "position"
	Offset   = "offset"
	Status   = "status"
)

// StoreKinds are those of one store. connector is one that runs.
func StoreKinds(store, connector string) []InStore {
	return []InStore{
		{"values at the edges", func(i int) []rmq.Entry { return storeEdges(store, connector, i) }},
		{"records of other versions", func(i int) []rmq.Entry {
			v := value(store, connector)
			v["v"] = []int64{0, 2, -1, math.MaxInt64}[i%4]
			return stored(key(store, connector), v)
		}},
		{"names of 512 KiB", func(int) []rmq.Entry {
			name := strings.Repeat("n", 512<<10)
			return stored(key(store, "n"), value(store, name)) // properties are too short for the key of its own
		}},
		{"values under the keys of others", func(int) []rmq.Entry { return stored(key(store, connector), value(store, "ghost")) }},
		{"bytes that are no record", Broken},
		{"records as large as the broker takes", Huge},
		{"small records", func(i int) []rmq.Entry { return Small(store, i) }},
	}
}

// key is where a store keeps a value of value's; names are those that need no escape.
func key(store, connector string) string {
	switch store {
	case Config:
		return "connector/" + connector
	case Status:
		return "status/" + connector + "/0"
	}
	return "position/" + connector + "/p"
}

// value is a well-formed one.
func value(store, connector string) map[string]any {
	v := map[string]any{"v": 1, "connector": connector, "task": 0, "epoch": 1, "generation": 1, "attempt": 1, "sequence": 1}
	switch store {
	case Config:
		v = map[string]any{"v": 1, "name": connector, "config": map[string]string{"a": "b"}, "state": "Running", "epoch": 1, "born": 1,
			"revision": 1, "replaces": 0, "requests": []any{map[string]any{"id": "x", "revision": 1}}}
	case Status:
		v["state"], v["worker"] = "Running", "ghost"
	default:
		v["partition"], v["position"] = "p", "5"
	}
	return v
}

// storeEdges are values of a connector that runs, one number each as large as numbers get: none of them may fence its
// tasks off, nor keep anybody from changing it.
func storeEdges(store, connector string, i int) []rmq.Entry {
	v := value(store, connector)
	largest := []int64{math.MaxInt64, 1 << 60, -1, math.MinInt64}[i/5%4]
	fields := []string{"epoch", "generation", "attempt", "sequence", "task"}
	if store == Config {
		fields = []string{"epoch", "born", "revision", "replaces", "restart"}
	}
	field := fields[i%5]
	v[field] = largest
	switch field {
	case "replaces":
		v["revision"] = largest + 1
	case "restart":
		v["restart"] = map[string]any{"id": "x", "task": math.MaxInt32}
	case "attempt", "task": // alone they would be one's of a generation that is over
		v["generation"] = largest
	}
	return stored(key(store, connector), v)
}

func stored(key string, v map[string]any) []rmq.Entry {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding strings and numbers: %v", err))
	}
	return []rmq.Entry{{Key: key, Value: data}}
}

// Broken is what is no JSON, or no record.
func Broken(i int) []rmq.Entry {
	values := [][]byte{
		[]byte("{"), []byte("null"), []byte("[]"), []byte(`""`), {0}, {0xff, 0xfe, 0xfd}, []byte(`{"v":"1"}`), []byte(`{"v":1e400}`),
		[]byte(strings.Repeat("[", 20_000)), []byte(strings.Repeat(`{"a":`, 20_000)), bytes.Repeat([]byte{0}, 4096),
	}
	return []rmq.Entry{
		{
			Key:   []string{"connector/in", "position/in/p", "status/in/0", "heartbeat", "", strings.Repeat("k", 8000)}[i%6],
			Value: values[i%len(values)],
		},
	}
}

// Huge is a record of nearly 4 MiB, the most that brokers take unless they are configured otherwise: text, a list, a
// list of lists.
func Huge(i int) []rmq.Entry {
	const size = 4<<20 - 64<<10
	v := [][]byte{
		bytes.Repeat([]byte("x"), size),
		[]byte(`{"v":1,"kind":"heartbeat","name":"big","config":{` + strings.Repeat(`"a":"b",`, size/8-40) + `"c":"d"}}`),
		[]byte(`{"v":1,"kind":"release","release":[` + strings.Repeat(`{},`, size/3-40) + `{}]}`),
	}[i%3]
	return []rmq.Entry{{Key: "connector/big", Value: v}}
}

// SmallBatch is how many Small gives.
const SmallBatch = 200

// Small are records of a few bytes, many of them: one in ten is a well-formed one, of a connector that there is not.
func Small(store string, i int) []rmq.Entry {
	out := make([]rmq.Entry, 0, SmallBatch)
	for j := range SmallBatch {
		if j%10 > 0 || store == "ghost" || store == Config {
			out = append(out, rmq.Entry{Key: "k", Value: []byte(`{"v":1}`)})
			continue
		}
		v, name := value(store, "ghost"), fmt.Sprintf("p%d-%d", i, j)
		k := "position/ghost/" + name
		if store == Status {
			v["task"] = (i*SmallBatch + j) % 1000
			k = fmt.Sprintf("status/ghost/%d", v["task"])
		} else {
			v["partition"] = name
		}
		out = append(out, stored(k, maps.Clone(v))...)
	}
	return out
}
