package convert

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rocketmq-connect/operator/worker/record"
)

const (
	propertyTags = "TAGS"
	// transientPrefix marks what RocketMQ's clients add on their own side.
	transientPrefix = "__RMQ.TRANSIENT."
)

// isProperty reports whether a header can be a user property as it is.
func isProperty(h *record.Header) bool {
	return len(h.Value) > 0 && printable(h.Value, true) &&
		len(h.Name) > 0 && len(h.Name) <= maxName && printable(h.Name, false) &&
		!strings.HasPrefix(h.Name, Prefix) && !isRocketMQs(h.Name)
}

// isHeader reports whether a property of a message that was read is a header for the other side: everything that
// neither RocketMQ nor this mapping put there, and the tag of a message from elsewhere.
func isHeader(property string) bool {
	return property == propertyTags || !strings.HasPrefix(property, Prefix) && !isRocketMQs(property)
}

// printable reports whether s is UTF-8 of printable characters, with or without the ASCII space.
func printable[T string | []byte](s T, space bool) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f || c == ' ' && !space {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) {
			return false
		}
		i += size
	}
	return true
}

// isRocketMQs reports whether RocketMQ itself gives the property a meaning, in any version: set by a user it would
// delay, redirect or lose the message, and set by a client or broker it is no part of the record.
func isRocketMQs(name string) bool {
	switch name {
	case propertyKeys, propertyTags, "WAIT", "DELAY", "RETRY_TOPIC", "REAL_TOPIC", "REAL_QID", "TRAN_MSG", "PGROUP",
		"MIN_OFFSET", "MAX_OFFSET", "BUYER_ID", "ORIGIN_MESSAGE_ID", "TRANSFER_FLAG", "CORRECTION_FLAG", "MQ2_FLAG",
		"RECONSUME_TIME", "MSG_REGION", "TRACE_ON", "UNIQ_KEY", "EXTEND_UNIQ_INFO", "MAX_RECONSUME_TIMES",
		"CONSUME_START_TIME", "INNER_NUM", "INNER_BASE", "DUP_INFO", "CHECK_IMMUNITY_TIME_IN_SECONDS",
		"TRAN_PREPARED_QUEUE_OFFSET", "__transactionId__", "TRANSACTION_CHECK_TIMES", "INSTANCE_ID", "CORRELATION_ID",
		"REPLY_TO_CLIENT", "TTL", "ARRIVE_TIME", "PUSH_REPLY_TIME", "CLUSTER", "MSG_TYPE", "POP_CK", "POP_CK_OFFSET",
		"1ST_POP_TIME", "SHARDING_KEY", "__SHARDINGKEY", "PROPERTY_FORWARD_QUEUE_ID", "REDIRECT", "INNER_MULTI_DISPATCH",
		"INNER_MULTI_QUEUE_OFFSET", "TRACE_CONTEXT", "BORN_HOST", "__BORNHOST", "BORN_TIMESTAMP", "TIMER_DELAY_SEC",
		"TIMER_DELIVER_MS", "TIMER_IN_MS", "TIMER_OUT_MS", "TIMER_ENQUEUE_MS", "TIMER_DEQUEUE_MS", "TIMER_ROLL_TIMES",
		"TIMER_ROLL_LABEL", "TIMER_DEL_UNIQKEY", "TIMER_DEL_MS", "TIMER_DELAY_LEVEL", "TIMER_DELAY_MS", "__CRC32#",
		"DLQ_ORIGIN_TOPIC", "DLQ_ORIGIN_MESSAGE_ID", "__STARTDELIVERTIME":
		return true
	}
	return strings.HasPrefix(name, transientPrefix)
}
