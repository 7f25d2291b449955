// Package remoting is RocketMQ's wire protocol, client side: frames, headers, signatures, messages, and connections
// that honour contexts and fail what is pending at once.
package remoting

// Request codes.
const (
	PullMessage         = 11
	QueryConsumerOffset = 14
	CommitOffset        = 15
	CreateTopic         = 17
	BrokerConfig        = 26
	SearchOffset        = 29
	MaxOffset           = 30
	MinOffset           = 31
	ConsumerList        = 38
	Heartbeat           = 34
	NotifyConsumerIDs   = 40
	RouteByTopic        = 105
	ClusterInfo         = 106
	CreateGroup         = 200
	AllGroups           = 201
	DeleteTopicBroker   = 215
	DeleteTopicNamesrv  = 216
	SendMessageV2       = 310
	SendBatch           = 320
	TopicConfig         = 351
)

// Response codes.
const (
	Success             = 0
	SystemError         = 1
	SystemBusy          = 2
	CodeNotSupported    = 3
	FlushDiskTimeout    = 10
	SlaveNotAvailable   = 11
	FlushSlaveTimeout   = 12
	MessageIllegal      = 13
	ServiceNotAvailable = 14
	NoPermission        = 16
	TopicNotExist       = 17
	PullNotFound        = 19
	PullRetryAtOnce     = 20
	PullOffsetMoved     = 21
	QueryNotFound       = 22
	GroupNotExist       = 26
	InvalidParameter    = 29
	FlowControl         = 215
)

// Bits of a command's flag.
const (
	FlagResponse = 1
	FlagOneWay   = 2
)

// protocolVersion is what we say we are: a 4.x client, which 4.9 and 5.x brokers serve alike.
const protocolVersion = "317"

// MaxFrame is the largest frame taken, in bytes. A longer one is a broken or hostile peer.
const MaxFrame = 64 << 20
