package kafka

import (
	"strings"

	"github.com/rocketmq-connect/operator/worker/record"
)

// placeholder stands for the origin topic's name in topic.rename.format.
const placeholder = "${topic}"

// maxRocketMQTopic and maxKafkaTopic are the longest names, in characters.
const (
	maxRocketMQTopic = 127
	maxKafkaTopic    = 249
)

// rocketMQTopic names the RocketMQ topic of a Kafka topic. Characters that RocketMQ does not allow become "_".
func rocketMQTopic(format, topic string) string {
	return legal(strings.ReplaceAll(format, placeholder, topic), "%|_-", maxRocketMQTopic)
}

// kafkaTopic names the Kafka topic of a RocketMQ topic. Characters that Kafka does not allow become "_".
func kafkaTopic(format, topic string) string {
	return legal(strings.ReplaceAll(format, placeholder, topic), "._-", maxKafkaTopic)
}

func legal(name, marks string, most int) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(marks, r) {
			return r
		}
		return '_'
	}, name)
	return name[:min(len(name), most)]
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
