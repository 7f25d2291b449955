// Package resume says where the partitions of a Kafka topic are read on: at what is stored, or elsewhere when nothing
// is or when the topic is another one than before. Plain values: no IO, no lock, no clock.
package resume

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/rocketmq-connect/operator/worker/record"
)

// Place is how far a partition was read: the offset of the record to read next, and the id of the topic that holds it;
// empty when nobody told.
type Place struct {
	Offset int64
	Topic  string
}

// Position is a place as it is stored: the offset, and the topic's id as its note.
func (p Place) Position() record.Position {
	return record.Position(strconv.FormatInt(p.Offset, 10)).Noted(p.Topic)
}

// In makes positions in a topic, for many records.
func In(topic string) func(offset int64) record.Position {
	note := record.Position("").Noted(topic)
	return func(offset int64) record.Position {
		var digits [64]byte
		return record.Position(append(strconv.AppendInt(digits[:0], offset, 10), note...))
	}
}

// Partition is a partition's name among the positions.
func Partition(topic string, number int32) record.SourcePartition {
	return record.SourcePartition(topic + "/" + strconv.Itoa(int(number)))
}

// Begun is where a task that starts a partition at its end stores how many partitions the topic had. The other tasks'
// partitions among them are no new ones, however late those tasks start.
func Begun(p record.SourcePartition) record.SourcePartition { return p + "/begun" }

// Topic is a topic as Kafka shows it.
type Topic struct {
	Name string
	// ID is another one for each topic that ever had the name; empty where brokers give none.
	ID         string
	Partitions int
}

// Is says whether the topic may be the one with an id. What is not known on either side tells nothing.
func (t Topic) Is(id string) bool { return id == "" || t.ID == "" || id == t.ID }

// Reset is what is wanted where there is no stored place.
type Reset string

// The values of kafka.auto.offset.reset.
const (
	Earliest Reset = "earliest"
	Latest   Reset = "latest"
	None     Reset = "none"
)

// Where is where a partition begins.
type Where int

const (
	// AtOffset is at Start.Offset, whatever Kafka holds.
	AtOffset Where = iota
	// AtFirst is at the first record that Kafka holds, AtEnd behind its last one.
	AtFirst
	AtEnd
)

// Start is where one partition begins.
type Start struct {
	Where  Where
	Offset int64
	// Store says that the place is to be stored before there is a record: a later start must not begin elsewhere.
	Store bool
}

// Plan is where the partitions of a topic begin.
type Plan struct {
	Starts []Start
	// AtEnd is how many partitions, the first ones, begin at their end if they have no stored place.
	AtEnd int
	// Former is the id of the topic that was read before under this name; empty if it is this one.
	Former string
}

var (
	// ErrNoPlace means that nothing is stored and None does not say where to begin.
	ErrNoPlace = errors.New("no stored position")
	// ErrRemade means that what is stored belongs to another topic and None does not say where to begin.
	ErrRemade = errors.New("the topic was deleted and recreated")
)

// Of plans from what is stored. Partitions without a stored place begin as reset says if the topic was never read
// before, and at their first record if they came later; late says that all of the topic did.
func Of(stored record.Positions, t Topic, reset Reset, late bool) (Plan, error) {
	h, err := read(stored, t)
	switch {
	case err != nil:
		return Plan{}, err
	case reset == None && h.former != "":
		return Plan{}, ErrRemade
	case reset == None && !h.known:
		return Plan{}, ErrNoPlace
	}
	plan := Plan{Starts: make([]Start, t.Partitions), Former: h.former}
	if reset == Latest && !late {
		plan.AtEnd = h.atEnd(t)
	}
	for p := range plan.Starts {
		plan.Starts[p] = h.start(p, t, plan.AtEnd)
	}
	return plan, nil
}

// atEnd is how many partitions begin at their end with Latest: those that the topic had when any task first read it.
func (h history) atEnd(t Topic) int {
	switch {
	case h.former != "":
		return 0
	case h.begun >= 0:
		return h.begun
	case h.known:
		return 0
	}
	return t.Partitions
}

func (h history) start(p int, t Topic, atEnd int) Start {
	place, known := h.places[p]
	switch {
	case known && t.Is(place.Topic):
		return Start{Offset: place.Offset, Store: place.Topic == "" && t.ID != ""}
	case h.former != "":
		return Start{Store: true}
	case p < atEnd:
		return Start{Where: AtEnd, Store: true}
	}
	return Start{Where: AtFirst}
}

// Sure is what is stored with the id of a topic; all of it where brokers give none.
func Sure(stored record.Positions, t Topic) record.Positions {
	out := record.Positions{}
	for p, position := range stored {
		if _, id := position.Split(); t.ID == "" || id == t.ID {
			out[p] = position
		}
	}
	return out
}

// Recreated plans for a topic that was recreated under the name of one that is read. Offsets of a new topic begin at 0;
// if retention took its first records already, the reader finds out.
func Recreated(former string, t Topic, reset Reset) (Plan, error) {
	if reset == None {
		return Plan{}, ErrRemade
	}
	plan := Plan{Starts: make([]Start, t.Partitions), Former: former}
	for p := range plan.Starts {
		plan.Starts[p].Store = true
	}
	return plan, nil
}

// history is what is stored of a topic.
type history struct {
	places map[int]Place
	known  bool   // the topic was read before
	begun  int    // how many partitions it had then, if it was begun at its end; else -1
	former string // the id of another topic of the name
}

func read(stored record.Positions, t Topic) (history, error) {
	h := history{places: map[int]Place{}, begun: -1}
	for p := range t.Partitions {
		name := Partition(t.Name, int32(p))
		place, known, err := parse(stored, name)
		if err != nil {
			return h, err
		}
		if known {
			h.places[p], h.known = place, true
			h.other(t, place)
		}
		begun, known, err := parse(stored, Begun(name))
		if err != nil {
			return h, err
		}
		if known {
			h.known = true
			h.other(t, begun)
			h.begun = max(h.begun, int(begun.Offset))
		}
	}
	return h, nil
}

func (h *history) other(t Topic, p Place) {
	if !t.Is(p.Topic) {
		h.former = p.Topic
	}
}

func parse(stored record.Positions, name record.SourcePartition) (place Place, known bool, err error) {
	position := stored[name]
	if position == "" {
		return Place{}, false, nil
	}
	offset, topic := position.Split()
	n, err := strconv.ParseInt(string(offset), 10, 64)
	if err != nil || n < 0 {
		return Place{}, false, fmt.Errorf("reading the stored position of %s: %q is not an offset; reset the connector's positions", name, offset)
	}
	return Place{Offset: n, Topic: topic}, true, nil
}
