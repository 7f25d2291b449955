package simulation

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// flow is what is true of the records that flow: what the other system has, what the broker confirmed, what the sink
// made durable, and what may be missing because the broker lost records that it had confirmed.
type flow struct {
	produced  int // records of each partition, from 1
	confirmed [partitions]prefix
	excused   map[string]bool // "partition/n": confirmed, and lost by the broker
	durable   [][]bool        // by queue
	// hidden is, per queue, up to where its offsets were given out before a loss: what stands there now may count as read.
	hidden []int64
	passed map[string]bool // "partition/n": what stands there
	orders [partitions]order
	judges map[*topic]*judge
	// configs has the config of each epoch, by "connector/epoch"; twins are the connectors of which one epoch has two:
	// workers that hold what was lost, and one that knows nothing of it and takes a write, count on from different ends.
	configs map[string]string
	twins   map[string]bool
	// won has the request that was answered first for each revision that it replaced.
	won map[string]string
}

// prefix is a set of numbers from 1 and its contiguous beginning.
type prefix struct {
	has  map[int]bool
	upTo int
}

func (x *prefix) add(n int) {
	if x.has == nil {
		x.has = map[int]bool{}
	}
	x.has[n] = true
	for x.has[x.upTo+1] {
		x.upTo++
	}
}

func recordName(partition, n int) string { return fmt.Sprintf("%s/%d", partitionName(partition), n) }

// confirm notes that a sender was told that the broker has a record.
func (f *flow) confirm(partition, n int) { f.confirmed[partition].add(n) }

// grow makes place for a queue more.
func (f *flow) grow() { f.durable, f.hidden = append(f.durable, nil), append(f.hidden, 0) }

// stored notes a record that a data queue has.
func (f *flow) stored(queue int, e rmq.Entry) {
	if e.Offset >= f.hidden[queue] {
		return
	}
	if f.passed == nil {
		f.passed = map[string]bool{}
	}
	f.passed[e.Key+"/"+string(e.Value)] = true
}

// deliver notes that the sink made a record durable.
func (f *flow) deliver(s *sim, d delivered) {
	f.sighted(s, d)
	t := s.data[d.queue]
	if d.offset >= int64(len(t.entries)) {
		return
	}
	if e := t.entries[d.offset]; e.Key != d.partition || string(e.Value) != d.value {
		return
	}
	for int64(len(f.durable[d.queue])) <= d.offset {
		f.durable[d.queue] = append(f.durable[d.queue], false)
	}
	f.durable[d.queue][d.offset] = true
}

// lost notes what a data queue lost: only what the broker had confirmed may be missing in the end.
func (f *flow) lost(queue int, lost []rmq.Entry, acked []bool) {
	if f.excused == nil {
		f.excused = map[string]bool{}
	}
	for i, e := range lost {
		if acked[i] {
			f.excused[e.Key+"/"+string(e.Value)] = true
		}
	}
	if len(lost) > 0 {
		f.hidden[queue] = max(f.hidden[queue], lost[len(lost)-1].Offset+1)
		f.durable[queue] = f.durable[queue][:min(int64(len(f.durable[queue])), lost[0].Offset)]
	}
}

// answered notes that a user was told that a write was accepted.
func (f *flow) answered(s *sim, w storefold.Write) {
	value, _ := f.judges[s.config].fold.Current("connector/" + w.Name)
	if w.IfRevision < 0 || !strings.Contains(string(value), `"id":"`+w.RequestID+`"`) {
		return // any number may be accepted, or this one was lost meanwhile
	}
	if f.won == nil {
		f.won = map[string]string{}
	}
	key := fmt.Sprint(w.Name, "/", w.IfRevision)
	if first, ok := f.won[key]; ok && first != w.RequestID {
		s.fail("C3: %s and %s were both accepted on revision %d of %s", first, w.RequestID, w.IfRevision, w.Name)
	}
	f.won[key] = w.RequestID
}

// checkStored looks at progress that every reader now takes.
func (f *flow) checkStored(s *sim, t *topic, partition, text string) {
	if strings.HasPrefix(partition, "@") {
		return // a binding
	}
	position := number(text)
	if t == s.position {
		var i int
		if _, err := fmt.Sscanf(partition, "p%d", &i); err != nil {
			s.fail("position of %q: %w", partition, err)
			return
		}
		// Invariant P1.
		if upTo := f.confirmed[i].upTo; position > upTo {
			s.fail("P1: position %d of %s is stored while the broker has confirmed the records up to %d", position, partition, upTo)
		}
		f.checkPlaced(s, i)
		return
	}
	for q, queue := range s.data {
		if queue.name != partition {
			continue
		}
		// Invariant P2.
		for offset := f.hidden[q]; offset < int64(position); offset++ {
			if offset >= int64(len(f.durable[q])) || !f.durable[q][offset] {
				s.fail("P2: offset %d of %s is stored while the sink has not said that %d is durable", position, partition, offset)
				return
			}
		}
	}
}

// missing says what of all records is not where it has to be; "" if nothing.
//
// Invariant P4: every source record is in the data queue, and every record there at the sink, at least once.
func (f *flow) missing(s *sim) string {
	there := map[string]bool{}
	for q, t := range s.data {
		for offset, e := range t.entries {
			there[e.Key+"/"+string(e.Value)] = true
			if int64(offset) >= f.hidden[q] && (offset >= len(f.durable[q]) || !f.durable[q][offset]) {
				return fmt.Sprintf("record %d of %s did not reach the sink", offset, t.name)
			}
		}
	}
	for i := range partitions {
		for n := 1; n <= f.produced; n++ {
			if name := recordName(i, n); !there[name] && !f.excused[name] {
				return fmt.Sprintf("record %s is not in its data queue", name)
			}
		}
	}
	return ""
}

// judge is what is true of a store's topic: each record is folded as it is stored, and judged once more by a plain
// reading of the rule.
type judge struct {
	fold   replica.Fold
	fences map[string]stamp // by connector and task
	floors map[string]int64
	epochs map[string]int64
}

type stamp struct{ Epoch, Generation, Attempt int64 }

func (x stamp) compare(o stamp) int {
	return cmp.Or(cmp.Compare(x.Epoch, o.Epoch), cmp.Compare(x.Generation, o.Generation), cmp.Compare(x.Attempt, o.Attempt))
}

// storeRecord is what the checks read of a stored value.
type storeRecord struct {
	Connector, Name                       string
	Task                                  int
	Partition, Position, ID               string
	Epoch, Generation, Attempt            int64
	Replaces, Revision, Sequence, Absence int64
	Republished, Deleted                  bool
	Config                                map[string]string
	Tasks                                 []map[string]string
}

func (s *sim) newFold(name string) replica.Fold {
	if name == "config" {
		return storefold.NewConfigs()
	}
	return storefold.NewProgress()
}

func (s *sim) newStore(name string) *topic {
	t := &topic{name: name}
	fresh := func() *judge {
		return &judge{fold: s.newFold(name), fences: map[string]stamp{}, floors: map[string]int64{}, epochs: map[string]int64{}}
	}
	if s.flow.judges == nil {
		s.flow.judges = map[*topic]*judge{}
	}
	s.flow.judges[t] = fresh()
	t.stored = func(e rmq.Entry) { s.flow.judges[t].observe(s, t, e) }
	t.forgotten = func([]rmq.Entry, []bool) {
		s.flow.judges[t] = fresh()
		if t == s.config {
			clear(s.flow.won) // an accepted write may be lost
		}
	}
	return t
}

func (j *judge) observe(s *sim, t *topic, e rmq.Entry) {
	var r storeRecord
	if err := json.Unmarshal(e.Value, &r); err != nil {
		s.fail("store %s: %w", t.name, err)
		return
	}
	before, _ := j.fold.Current(e.Key)
	verdict, err := j.fold.Apply(e)
	if err != nil {
		s.fail("store %s: %q: %w", t.name, e.Value, err)
		return
	}
	if !s.quiet && verdict == replica.Refused {
		s.tracef("%s@%d refused: %s", t.name, e.Offset, e.Value)
	}
	if t == s.config {
		j.checkConfig(s, e, r, verdict)
		return
	}
	j.checkProgress(s, t, e, r, verdict, before)
}

// checkConfig is compare-and-set, seen plainly.
func (j *judge) checkConfig(s *sim, e rmq.Entry, r storeRecord, verdict replica.Verdict) {
	if verdict != replica.Accepted {
		return
	}
	s.tracef("config@%d %s", e.Offset, e.Value)
	// Invariant C3: an epoch never goes back.
	if r.Epoch < j.epochs[e.Key] {
		s.fail("C3: config@%d takes %s back to epoch %d from %d", e.Offset, r.Name, r.Epoch, j.epochs[e.Key])
	}
	j.epochs[e.Key] = r.Epoch
	s.flow.noteConfig(r)
}

// noteConfig looks for two configs of one epoch.
func (f *flow) noteConfig(r storeRecord) {
	if r.Tasks != nil || r.Deleted {
		return
	}
	if f.configs == nil {
		f.configs, f.twins = map[string]string{}, map[string]bool{}
	}
	key, config := fmt.Sprint(r.Name, "/", r.Epoch), fmt.Sprint(r.Config)
	if other, ok := f.configs[key]; ok && other != config {
		f.twins[r.Name] = true
	}
	f.configs[key] = config
}

// checkProgress looks at a record of the position or offset topic.
func (j *judge) checkProgress(s *sim, t *topic, e rmq.Entry, r storeRecord, verdict replica.Verdict, before []byte) {
	at := stamp{r.Epoch, r.Generation, r.Attempt}
	unit := fmt.Sprint(r.Connector, "/", r.Task)
	isFence := r.Position == "" && r.Partition == ""
	stale := at.compare(j.fences[unit]) < 0 || r.Epoch < j.floors[r.Connector]
	if isFence {
		if at.compare(j.fences[unit]) > 0 {
			j.fences[unit] = at
		}
		j.floors[r.Connector] = max(j.floors[r.Connector], r.Epoch)
		return
	}
	if stale && !r.Republished {
		// Invariant P3: the write of an older owner is ignored, and the newest value keeps its place.
		after, _ := j.fold.Current(e.Key)
		if was, is := positionOf(before), positionOf(after); verdict == replica.Accepted || was != is {
			s.fail("P3: %s@%d of %+v behind the fence %+v moves %s from %q to %q", t.name, e.Offset, at, j.fences[unit], r.Partition, was, is)
		}
		return
	}
	if verdict == replica.Accepted && !s.quiet {
		if r.Position == "" {
			return
		}
		s.flow.checkStored(s, t, r.Partition, r.Position)
	}
}

func positionOf(value []byte) string {
	var r storeRecord
	if value == nil || json.Unmarshal(value, &r) != nil {
		return ""
	}
	return r.Position
}

// stateOf is what a fold would publish again.
func stateOf(f replica.Fold) map[string]string {
	out := map[string]string{}
	for _, key := range f.Keys() {
		value, _ := f.Current(key)
		out[key] = string(value)
	}
	return out
}

// unsettled says what of the stores is not as it has to be when everything has come to rest; "" if nothing.
//
// Invariant C4: what a topic lost is noticed: all readers hold the same in the end. Invariant P3: what was refused
// never costs the newest value its place: compaction keeps it.
func (f *flow) unsettled(s *sim) string {
	for _, t := range []*topic{s.config, s.position, s.offset} {
		want := stateOf(f.judges[t].fold)
		for _, p := range s.procs {
			if !p.alive || p.fatal != nil {
				continue
			}
			i := slices.IndexFunc(p.worker.stores.shelves(), func(sh *shelf) bool { return sh.topic == t })
			if got := stateOf(p.worker.stores.folds()[i]); !maps.Equal(got, want) {
				return fmt.Sprintf("C4: %s holds of %s\n%v\nwant\n%v", p.id, t.name, got, want)
			}
		}
		compacted := s.newFold(t.name)
		last := map[string]int64{}
		for _, e := range t.entries {
			last[e.Key] = e.Offset
		}
		for _, e := range t.entries {
			if last[e.Key] == e.Offset {
				_, _ = compacted.Apply(e)
			}
		}
		if got := stateOf(compacted); !maps.Equal(got, want) {
			return fmt.Sprintf("P3: compaction leaves of %s\n%v\nwant\n%v", t.name, got, want)
		}
	}
	return ""
}

func (st *stores) folds() []replica.Fold { return []replica.Fold{st.positions, st.offsets, st.configs} }
