// Package redistribute decides what happens to the records of a lane whose queue is gone or whose broker is away:
// values in, values out. It has no clock, no lock and no lane.
package redistribute

import "time"

// GivenUpAfter is for how long a broker that is there must let nobody write to a queue before what is bound to it
// goes to others: by then what the queue holds has most likely been read, and an administrator who is not about to
// finish means it.
const GivenUpAfter = time.Minute

// Fate is what happens to the records of a batch that was not stored. Those that do not leave are tried again.
type Fate int

const (
	// Wait: none leaves.
	Wait Fate = iota
	// Fail: the topic is gone, and what is left of the batch fails.
	Fail
	// Remake: none leaves, and the topic is to be made again on the queue's broker, which goes on saying that it has
	// none while the name server shows it there: a replica became the master before it had copied the topic.
	Remake
	// MoveFree: those leave that are bound to no queue.
	MoveFree
	// MoveMovable: those leave, too, that are bound and movable. The others wait: their order must outlast that.
	MoveMovable
	// MoveAll: the queue was given up by a broker that is there. All leave.
	MoveAll
)

// Sight is a look at a queue on which a batch was not stored. The zero value is a topic that can be written to nowhere.
type Sight struct {
	// Unknown says that no name server knows the topic.
	Unknown bool
	// Shown says that a name server shows the queue as one that can be written to, and Others that it shows others.
	Shown, Others bool
	// There says that the queue's broker is there, with the topic or without it.
	There bool
	// Denied says that the broker itself does not have the topic, Fewer that it has it with fewer queues.
	Denied, Fewer bool
}

// Doubt is since when a queue's broker has not taken the batch in hand though it is there. The zero value is for a
// new batch.
type Doubt struct {
	// Denied is since when it says that it does not have a topic that the name server shows there.
	Denied time.Time
	// Refused is since when it lets nobody write to the queue.
	Refused time.Time
}

// Judge decides by a look at the time now, and by the doubt that earlier looks have left; it gives what is left now.
// A topic that is denied for remakeAfter is made again. Only a broker's word is final: a name server forgets the
// topics of brokers that restart.
func Judge(s Sight, d Doubt, now time.Time, remakeAfter time.Duration) (Fate, Doubt) {
	switch {
	case s.Unknown && s.Denied:
		return Fail, d
	case s.Unknown:
		return Wait, d
	case s.Shown && s.Denied:
		return d.denied(now, remakeAfter)
	case s.Shown || !s.Others:
		return Wait, d
	case s.Denied || s.There && s.Fewer:
		return MoveAll, d
	case s.There:
		return d.refused(now)
	}
	return MoveMovable, d
}

func (d Doubt) denied(now time.Time, remakeAfter time.Duration) (Fate, Doubt) {
	switch {
	case d.Denied.IsZero():
		d.Denied = now
		return Wait, d
	case now.Sub(d.Denied) < remakeAfter:
		return Wait, d
	}
	d.Denied = time.Time{}
	return Remake, d
}

func (d Doubt) refused(now time.Time) (Fate, Doubt) {
	if d.Refused.IsZero() {
		d.Refused = now
	}
	if now.Sub(d.Refused) < GivenUpAfter {
		return MoveMovable, d
	}
	return MoveAll, d
}
