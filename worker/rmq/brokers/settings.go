package brokers

import (
	"strconv"
	"strings"
	"time"
)

// Settings are what a broker's configuration says of its answers.
type Settings struct {
	// Role is SYNC_MASTER, ASYNC_MASTER or SLAVE; "" if it was not told. Flush is SYNC_FLUSH or ASYNC_FLUSH.
	Role, Flush string
	// SyncFlushTimeout is for how long an answer waits for the disk at most, SlaveTimeout for how long it waits for
	// slaves.
	SyncFlushTimeout, SlaveTimeout time.Duration
	// InSyncReplicas is how many brokers, the master among them, must have a record before it is confirmed, 0 where that
	// was not told: brokers before 5.0 wait for one slave. AllInSync says that all must which were in sync lately.
	InSyncReplicas int
	AllInSync      bool
}

// AwaitsSlaves says whether answers wait for slaves.
func (s Settings) AwaitsSlaves() bool {
	return s.Role == "SYNC_MASTER" && (s.InSyncReplicas != 1 || s.AllInSync)
}

// AwaitsDisk says whether answers wait for the disk.
func (s Settings) AwaitsDisk() bool { return s.Flush == "SYNC_FLUSH" }

// What brokers wait for unless they are told otherwise.
const (
	defaultSyncFlushTimeout = 5 * time.Second
	defaultSlaveTimeout     = 3 * time.Second
)

// ParseSettings reads a broker's configuration, one key=value a line. What it does not say is as brokers have it by
// default.
func ParseSettings(config []byte) Settings {
	s := Settings{SyncFlushTimeout: defaultSyncFlushTimeout, SlaveTimeout: defaultSlaveTimeout}
	for line := range strings.Lines(string(config)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "brokerRole":
			s.Role = value
		case "flushDiskType":
			s.Flush = value
		case "syncFlushTimeout":
			s.SyncFlushTimeout = millis(value, s.SyncFlushTimeout)
		case "slaveTimeout":
			s.SlaveTimeout = millis(value, s.SlaveTimeout)
		case "inSyncReplicas":
			if n, err := strconv.Atoi(value); err == nil && n > 0 {
				s.InSyncReplicas = n
			}
		case "allAckInSyncStateSet":
			s.AllInSync = value == "true"
		}
	}
	return s
}

// maxMillis is an hour: no broker holds an answer back for longer.
const maxMillis = 60 * 60 * 1000

func millis(value string, otherwise time.Duration) time.Duration {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < 0 {
		return otherwise
	}
	return time.Duration(min(n, maxMillis)) * time.Millisecond
}
