package encode

import "strings"

const (
	// logMark is the property that says for which log a record was written.
	logMark = "connect-log"
	// carried begins the properties that connectors give to what they carry; they never pass a mark on.
	carried = "connect-"
)

// LogMark marks a record of a log by the log's topic.
func LogMark(topic string) Property { return Property{Name: logMark, Value: topic} }

// Stray reports whether a record that was read from a log was not written for it: it was written for another one and
// copied here, or carried here by a connector. One without a mark may be an older worker's, and is not.
func Stray(properties []Property, topic string) bool {
	for i := range properties {
		if p := &properties[i]; strings.HasPrefix(p.Name, carried) && (p.Name != logMark || p.Value != topic) {
			return true
		}
	}
	return false
}
