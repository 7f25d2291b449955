package connector

import (
	"slices"
	"strings"
)

// TopicKeys are the settings that may name the RocketMQ topics of a sink; the first that is set counts. The worker
// reads them, whatever the connector.
func TopicKeys() []string { return []string{"topicNames", "topics", "connect.topicnames"} }

// NamesTopics reports whether the setting says which topics are read: their names are in positions, offsets and
// statuses.
func (s Spec) NamesTopics(name string) bool {
	return slices.Contains(TopicKeys(), name) || slices.ContainsFunc(s.Keys, func(k Key) bool { return k.Name == name && k.Topics })
}

// SinkTopics are the RocketMQ topics that a sink's config names, sorted.
func SinkTopics(cfg map[string]string) []string {
	for _, key := range TopicKeys() {
		if topics := SplitTopics(cfg[key]); len(topics) > 0 {
			return topics
		}
	}
	return nil
}

// SplitTopics takes a list of topics apart (commas, semicolons, blanks) and sorts it.
func SplitTopics(list string) []string {
	topics := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",; \t\n", r) })
	slices.Sort(topics)
	return slices.Compact(topics)
}
