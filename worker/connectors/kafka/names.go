package kafka

import (
	"strings"

	"github.com/rocketmq-connect/operator/worker/record"
)

// maxTopic is the longest name of a Kafka topic.
const maxTopic = 249

// legalTopic is the Kafka topic for a name; characters that Kafka does not allow become "_".
func legalTopic(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), maxTopic)]
}

// headerOrigin marks records that a Connect cluster's sink wrote, so that its sources leave them alone.
const headerOrigin = "connect-origin"

func hasOrigin(headers []record.Header, cluster string) bool {
	for i := range headers {
		if headers[i].Name == headerOrigin && string(headers[i].Value) == cluster {
			return true
		}
	}
	return false
}
