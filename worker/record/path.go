package record

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
)

const (
	// placeBytes of a hash name a place: two places of a trillion have the same name with a probability of 10^-5.
	placeBytes = 12
	placeLen   = placeBytes * 4 / 3
	placeMark  = ","
	// MaxPlaces is how many topics a record may go through. One that has been in so many goes round.
	MaxPlaces = 32
)

// PathHeader is the header, or property, in which a record carries its path.
const PathHeader = "connect-path"

// TakePath takes a record's path out of its headers, which it changes.
func TakePath(headers []Header) (Path, []Header) {
	var path Path
	is := func(h Header) bool { return h.Name == PathHeader }
	if at := slices.IndexFunc(headers, is); at >= 0 {
		path = ParsePath(string(headers[at].Value))
		headers = slices.DeleteFunc(headers, is)
	}
	return path, headers
}

// Place is a topic of one system, as a path names it: letters, digits, - and _, always as many. The zero value is no
// place.
type Place string

// PlaceOf names a topic of a system. A system is known by an id that no other has: that of a Kafka cluster, or the
// identity of the Connect cluster that reaches a RocketMQ. It is stored data: it never changes.
func PlaceOf(system, topic string) Place {
	sum := sha256.Sum256([]byte(system + "\x00" + topic))
	return Place(base64.RawURLEncoding.EncodeToString(sum[:placeBytes]))
}

// Path is the places in which a record has been, in the order in which it came there, as it is stored: separated by
// commas. The zero value is that of a record that was in none.
type Path string

// ParsePath reads what a record carries. What is no path is none: a record whose path was damaged makes one more round
// at most, for each place that it comes to is added again.
func ParsePath(text string) Path {
	if text == "" || (len(text)+1)%(placeLen+1) != 0 || len(Path(text).places()) > MaxPlaces {
		return ""
	}
	for _, place := range Path(text).places() {
		if len(place) != placeLen {
			return ""
		}
		if _, err := base64.RawURLEncoding.DecodeString(place); err != nil {
			return ""
		}
	}
	return Path(text)
}

func (p Path) places() []string {
	if p == "" {
		return nil
	}
	return strings.Split(string(p), placeMark)
}

// Len is how many places there are.
func (p Path) Len() int { return (len(p) + 1) / (placeLen + 1) }

// Has says whether a record has been in a place.
func (p Path) Has(place Place) bool {
	for at := 0; at+placeLen <= len(p) && place != ""; at += placeLen + 1 {
		if p[at:at+placeLen] == Path(place) {
			return true
		}
	}
	return false
}

// In is the path of a record that was found in a place, whether it was brought there or born there.
func (p Path) In(place Place) Path {
	switch {
	case place == "" || p.Has(place):
		return p
	case p == "":
		return Path(place)
	}
	return p + placeMark + Path(place)
}

// To decides whether a record that was found with this path goes on to a place, and is its path there. It does not if
// it has been there, or has been in too many places: it goes round.
func (p Path) To(place Place) (there Path, goes bool) {
	if p.Has(place) || p.Len() >= MaxPlaces {
		return "", false
	}
	return p.In(place), true
}
