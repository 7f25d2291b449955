package allocate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRingGoldenVectors(t *testing.T) {
	indexKey := func(i int) string { return fmt.Sprintf("ConnectKeyValue{properties={index=%d}}", i) }
	taskKey := func(i int) string {
		return fmt.Sprintf("ConnectKeyValue{properties={connector.class=x.KafkaSourceConnector, kafka.topics=kafkaconnect, "+
			"task.class=x.KafkaSourceTask, kafka.bootstrap.server=127.0.0.1:9092, task.id=%d}}", i)
	}
	const b34915, b34974 = "192.168.1.115@34915", "192.168.1.115@34974"
	two := map[string]string{"connectorConfig1": "workId3", "connectorConfig2": "workId1", "connectorConfig3": "workId1",
		indexKey(0): "workId3", indexKey(1): "workId3", indexKey(2): "workId3", indexKey(3): "workId3",
		indexKey(4): "workId1", indexKey(5): "workId1"}
	three := map[string]string{"connectorConfig1": "workId3", "connectorConfig2": "workId2", "connectorConfig3": "workId2",
		indexKey(0): "workId3", indexKey(1): "workId3", indexKey(2): "workId3", indexKey(3): "workId3",
		indexKey(4): "workId1", indexKey(5): "workId1"}
	cases := map[string]struct {
		workers      []string
		virtualNodes int
		want         map[string]string
	}{
		"vector A with three points each":           {[]string{"workId1", "workId2", "workId3"}, 3, three},
		"vector A with two points each":             {[]string{"workId1", "workId2", "workId3"}, 2, two},
		"vector A with two points, one worker gone": {[]string{"workId3", "workId1"}, 2, two},
		"vector B, the addresses of a real cluster": {[]string{b34974, b34915}, 2, map[string]string{
			"kafkaSource": b34915, "kafkaSink": b34915, "fileConnectorSource": b34915, "fileConnectorSink": b34915,
			taskKey(0): b34915, taskKey(1): b34974, taskKey(2): b34915, taskKey(3): b34915}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ring, got := NewRing(tc.workers, tc.virtualNodes), map[string]string{}
			for key := range tc.want {
				got[key] = ring.Worker(key)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("owners (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRingPoints(t *testing.T) {
	cases := map[string]struct {
		ring *Ring
		want []point
	}{
		"vector A": {NewRing([]string{"workId1", "workId2", "workId3"}, 3), []point{
			{28592979, "workId3"}, {143678496, "workId2"}, {559804908, "workId3"}, {1246852883, "workId1"}, {1537442586, "workId1"},
			{1594533891, "workId2"}, {3320246840, "workId3"}, {3946943957, "workId2"}, {4081769578, "workId1"}}},
		"vector B": {NewRing([]string{"192.168.1.115@34974", "192.168.1.115@34915"}, 2), []point{
			{761601352, "192.168.1.115@34915"}, {893558868, "192.168.1.115@34974"},
			{1385764806, "192.168.1.115@34974"}, {3713438358, "192.168.1.115@34915"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.ring.points, cmp.AllowUnexported(point{})); diff != "" {
				t.Errorf("points (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAveragelyDealsAsTheJavaRuntimeDoes(t *testing.T) {
	var units []Unit
	for c := range 3 {
		for task := ConnectorTask; task <= c; task++ {
			units = append(units, Unit{"connectorConfig" + strconv.Itoa(c+1), task})
		}
	}
	want := map[Unit]string{
		{"connectorConfig1", -1}: "workId1", {"connectorConfig2", -1}: "workId2", {"connectorConfig3", -1}: "workId3",
		{"connectorConfig1", 0}: "workId1", {"connectorConfig2", 0}: "workId2", {"connectorConfig2", 1}: "workId3",
		{"connectorConfig3", 0}: "workId1", {"connectorConfig3", 1}: "workId2", {"connectorConfig3", 2}: "workId3"}
	got := Units(Params{Strategy: Averagely}, []string{"workId2", "workId3", "workId1"}, units)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}

func TestParseStrategy(t *testing.T) {
	cases := map[string]struct{ in, want string }{
		"nothing is the default": {"", ConsistentHash},
		"the ring by name":       {"ConsistentHash", ConsistentHash},
		"dealing round by name":  {"Averagely", Averagely},
		"the ring by its Java class": {
			"org.apache.rocketmq.connect.runtime.service.strategy.AllocateConnAndTaskStrategyByConsistentHash",
			ConsistentHash,
		},
		"dealing round by its Java class": {"org.apache.rocketmq.connect.runtime.service.strategy.DefaultAllocateConnAndTaskStrategy", Averagely},
		"the ring by its short class":     {"AllocateConnAndTaskStrategyByConsistentHash", ConsistentHash},
		"anything else is refused":        {"consistent", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseStrategy(tc.in)
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("ParseStrategy(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
			}
		})
	}
}

func TestQueues(t *testing.T) {
	cases := map[string]struct {
		n, task, tasks int
		want           []int
	}{
		"an even share":                      {8, 1, 4, []int{2, 3}},
		"the first tasks take one more":      {10, 1, 4, []int{3, 4, 5}},
		"the later tasks take one less":      {10, 3, 4, []int{8, 9}},
		"fewer queues than tasks, one each":  {2, 1, 3, []int{1}},
		"a task beyond the queues gets none": {2, 2, 3, nil},
		"no queues":                          {0, 0, 3, nil},
		"no tasks":                           {4, 0, 0, nil},
		"a task that is out of range":        {4, 4, 4, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Queues(tc.n, tc.task, tc.tasks)); diff != "" {
				t.Errorf("queues (-want +got):\n%s", diff)
			}
		})
	}
}

func TestQueuesAreDealtExactlyOnce(t *testing.T) {
	for n := range 40 {
		for tasks := 1; tasks < 12; tasks++ {
			var got []int
			for task := range tasks {
				got = append(got, Queues(n, task, tasks)...)
			}
			for i, q := range got {
				if i != q {
					t.Fatalf("%d queues over %d tasks: got %v", n, tasks, got)
				}
			}
			if len(got) != n {
				t.Fatalf("%d queues over %d tasks: got %v", n, tasks, got)
			}
		}
	}
}

func TestUnitsWithoutWorkersIsEmpty(t *testing.T) {
	for _, strategy := range []string{"", ConsistentHash, Averagely} {
		if got := Units(Params{Strategy: strategy}, nil, []Unit{{"a", 0}}); len(got) != 0 || got == nil {
			t.Errorf("Units(%q) = %v, want an empty map", strategy, got)
		}
	}
}

// FuzzUnits checks the allocation against a slow, obvious twin, that it fills the bound and no more, that order and
// repetition of the input do not matter, and that losing a worker moves only what the ring or the bound moves.
func FuzzUnits(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(20), uint8(8), 1.25)
	f.Add(uint64(2), uint8(1), uint8(5), uint8(0), 0.0)
	f.Add(uint64(3), uint8(9), uint8(90), uint8(3), 1.0)
	f.Add(uint64(4), uint8(5), uint8(3), uint8(1), 0.3)
	f.Add(uint64(5), uint8(4), uint8(33), uint8(2), math.Inf(1))
	f.Fuzz(func(t *testing.T, seed uint64, nWorkers, nUnits, virtualNodes uint8, factor float64) {
		checkUnits(t, seed, int(nWorkers%16), int(nUnits), Params{VirtualNodes: int(virtualNodes % 32), MaxLoadFactor: factor})
	})
}

func TestUnitsAgreesWithItsTwin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for seed := range uint64(400) {
		checkUnits(t, seed, rng.IntN(10), rng.IntN(120), Params{VirtualNodes: rng.IntN(20), MaxLoadFactor: []float64{0, 1, 1.25, 2}[rng.IntN(4)]})
	}
}

func checkUnits(t *testing.T, seed uint64, nWorkers, nUnits int, p Params) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	workers, units := make([]string, nWorkers), make([]Unit, nUnits)
	for i := range workers {
		workers[i] = fmt.Sprintf("10.0.%d.%d@%d", rng.IntN(3), i, 8080+rng.IntN(3))
	}
	for i := range units {
		units[i] = Unit{fmt.Sprintf("c%d", rng.IntN(9)), i - 1}
	}
	got := Units(p, workers, units)
	if diff := cmp.Diff(slowButObvious(p, workers, units), got); diff != "" {
		t.Fatalf("seed %d (-twin +got):\n%s", seed, diff)
	}
	shuffled, repeated := slices.Clone(units), append(slices.Clone(workers), workers...)
	rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	rng.Shuffle(len(repeated), func(i, j int) { repeated[i], repeated[j] = repeated[j], repeated[i] })
	if diff := cmp.Diff(got, Units(p, repeated, shuffled)); diff != "" {
		t.Fatalf("seed %d: the order of the input matters:\n%s", seed, diff)
	}
	if nWorkers < 2 {
		return
	}
	gone := rng.IntN(nWorkers)
	after := Units(p, slices.Delete(slices.Clone(workers), gone, gone+1), units)
	before, home := NewRing(workers, p.VirtualNodes), NewRing(slices.Delete(slices.Clone(workers), gone, gone+1), p.VirtualNodes)
	for _, u := range units {
		key := u.String()
		byRing := got[u] == workers[gone]
		byBound := got[u] != before.Worker(key) || after[u] != home.Worker(key)
		if got[u] != after[u] && !byRing && !byBound {
			t.Fatalf("seed %d: losing %s moved %v from %s to %s", seed, workers[gone], u, got[u], after[u])
		}
	}
}

// slowButObvious gives each unit, in sorted order, to the worker with room whose point is the shortest way clockwise.
func slowButObvious(p Params, workers []string, units []Unit) map[Unit]string {
	out := map[Unit]string{}
	workers, units = slices.Sorted(slices.Values(workers)), slices.SortedFunc(slices.Values(units), Compare)
	limit := math.MaxInt
	if p.MaxLoadFactor > 0 && len(workers) > 0 && p.MaxLoadFactor < 1e6 {
		limit = int(math.Ceil(math.Max(1, p.MaxLoadFactor) * float64(len(units)) / float64(len(workers))))
	}
	nodes := p.VirtualNodes
	if nodes == 0 {
		nodes = 160
	}
	at := map[uint32]string{}
	for _, w := range workers {
		for i := range nodes {
			at[Hash(fmt.Sprintf("%s-%d", w, i))] = w
		}
	}
	for _, u := range units {
		best, distance := "", uint64(math.MaxUint64)
		for hash, w := range at {
			load := 0
			for _, owner := range out {
				if owner == w {
					load++
				}
			}
			if d := uint64(hash - Hash(u.String())); load < limit && d < distance {
				best, distance = w, d
			}
		}
		if best != "" {
			out[u] = best
		}
	}
	return out
}

func BenchmarkUnits(b *testing.B) {
	var workers []string
	var units []Unit
	for i := range 20 {
		workers = append(workers, "worker-"+strconv.Itoa(i))
	}
	for i := range 1000 {
		units = append(units, Unit{"c" + strconv.Itoa(i/10), i%10 - 1})
	}
	for b.Loop() {
		Units(Params{MaxLoadFactor: 1.25}, workers, units)
	}
}

func TestARingIsBounded(t *testing.T) {
	workers := make([]string, 4096)
	for i := range workers {
		workers[i] = strconv.Itoa(i)
	}
	if n := len(NewRing(workers, 10_000).points); n > maxPoints || n < len(workers) {
		t.Errorf("%d points", n)
	}
}
