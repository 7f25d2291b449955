package allocate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Names of the strategies, as Params.Strategy and the setting allocTaskStrategy hold them.
const (
	// ConsistentHash puts a unit on the first worker at or after its hash on a ring, bounded by MaxLoadFactor.
	ConsistentHash = "ConsistentHash"
	// Averagely deals sorted units round the sorted workers; any change of either moves nearly everything.
	Averagely = "Averagely"
)

// DefaultVirtualNodes is the number of points that a worker has on the ring unless configured.
const DefaultVirtualNodes = 160

// DefaultMaxLoadFactor is the bound of a worker's share, as a factor of the mean, unless configured.
const DefaultMaxLoadFactor = 1.25

// Params says how units are allocated. The zero value is the plain ring with DefaultVirtualNodes.
type Params struct {
	// Strategy is ConsistentHash (also when empty) or Averagely.
	Strategy string `json:"strategy,omitempty"`
	// VirtualNodes is the number of points of a worker on the ring; 0 or less means DefaultVirtualNodes.
	VirtualNodes int `json:"virtualNodes,omitempty"`
	// MaxLoadFactor bounds a worker's units to ceil(factor × units / workers). 0 is the plain ring; what lies between
	// 0 and 1 counts as 1, for below it not every unit would find a worker.
	MaxLoadFactor float64 `json:"maxLoadFactor,omitempty"`
}

// ParseStrategy returns the strategy that s names: ConsistentHash or Averagely, or the Java runtime's class for either,
// with or without its package. The empty string is ConsistentHash.
func ParseStrategy(s string) (string, error) {
	switch s {
	case "", ConsistentHash, javaPackage + javaConsistentHash, javaConsistentHash:
		return ConsistentHash, nil
	case Averagely, javaPackage + javaDefault, javaDefault:
		return Averagely, nil
	}
	return "", fmt.Errorf("unknown allocation strategy %q: use %s or %s", s, ConsistentHash, Averagely)
}

const (
	javaPackage        = "org.apache.rocketmq.connect.runtime.service.strategy."
	javaConsistentHash = "AllocateConnAndTaskStrategyByConsistentHash"
	javaDefault        = "DefaultAllocateConnAndTaskStrategy"
)

// Units returns the worker of each unit. It depends on the sets of workers and units alone, not on their order;
// repeated entries count once. Without workers the result is empty.
func Units(p Params, workers []string, units []Unit) map[Unit]string {
	workers, units = sortedWorkers(workers), sortedUnits(units)
	if len(workers) == 0 {
		return map[Unit]string{}
	}
	if p.Strategy == Averagely {
		return averagely(workers, units)
	}
	ring := NewRing(workers, p.VirtualNodes)
	limit := limitOf(p.MaxLoadFactor, len(units), len(workers))
	out, load := make(map[Unit]string, len(units)), make(map[string]int, len(workers))
	for _, u := range units {
		w := ring.walk(u.String(), func(worker string) bool { return load[worker] < limit })
		out[u] = w
		load[w]++
	}
	return out
}

// limitOf is the most units that one worker may hold.
func limitOf(factor float64, units, workers int) int {
	if !(factor > 0) || math.IsInf(factor, 1) {
		return math.MaxInt
	}
	limit := math.Ceil(max(factor, 1) * float64(units) / float64(workers))
	if limit >= float64(units) {
		return max(units, 1)
	}
	return int(limit)
}

// averagely deals connectors, then tasks, round the workers with one running index.
func averagely(workers []string, units []Unit) map[Unit]string {
	out := make(map[Unit]string, len(units))
	index := 0
	for _, connectors := range []bool{true, false} {
		for _, u := range units {
			if (u.Task == ConnectorTask) == connectors {
				out[u] = workers[index%len(workers)]
				index++
			}
		}
	}
	return out
}

func sortedWorkers(workers []string) []string {
	out := slices.Clone(workers)
	slices.Sort(out)
	return slices.Compact(out)
}

func sortedUnits(units []Unit) []Unit {
	out := slices.Clone(units)
	slices.SortFunc(out, Compare)
	return slices.Compact(out)
}

// Compare orders units by connector, then task; a connector comes before its tasks.
func Compare(a, b Unit) int {
	return cmp.Or(cmp.Compare(a.Connector, b.Connector), cmp.Compare(a.Task, b.Task))
}

// Queues returns the indexes, out of n sorted queues, that the given one of the sink tasks (0 … tasks-1) reads:
// consecutive shares whose sizes differ by one at most, the larger first (RocketMQ's Averagely). A task beyond the
// queues gets none, and so does one that is out of range.
func Queues(n, task, tasks int) []int {
	if n <= 0 || task < 0 || task >= tasks {
		return nil
	}
	size, larger := n/tasks, n%tasks
	start := task*size + min(task, larger)
	if task < larger {
		size++
	}
	var out []int
	for i := range size {
		out = append(out, start+i)
	}
	return out
}

// BrokerQueues returns the indexes, out of the n sorted queues that a topic has on one broker, that the given one of
// the sink tasks reads. rank is the broker's place among those of the topics. Each broker's queues are dealt by
// themselves, as Queues does, each broker's from another task on: so a broker that leaves or comes back moves no other
// one's queues.
func BrokerQueues(n, rank, task, tasks int) []int {
	if n <= 0 || task < 0 || task >= tasks {
		return nil
	}
	first := rank % tasks * (n % tasks) % tasks
	return Queues(n, (task-first+tasks)%tasks, tasks)
}
