package broker

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

// rocketmqFlags open what the broker's direct buffers need on JDK 17, and let it write to a disk that is nearly full: by
// default it refuses at 90 %.
var rocketmqFlags = []string{
	"-XX:MaxDirectMemorySize=1g",
	"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
	"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
	"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
	"-Drocketmq.broker.diskSpaceWarningLevelRatio=0.98", "-Drocketmq.broker.diskSpaceCleanForciblyRatio=0.97",
}

// kafkaLogging has warnings and Kafka's own start and stop written to its output.
var kafkaLogging = []string{
	"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
	"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
}

func properties(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

func (s Set) nameServerConf() string {
	return properties(fmt.Sprintf("listenPort=%d", s.Ports.NameServer), "bindAddress="+s.nameServerHost())
}

func (s Set) brokerConf(store string) string {
	return properties(
		"brokerClusterName=DefaultCluster",
		"brokerName=broker-a",
		"brokerId=0",
		"brokerIP1="+s.advertised(),
		"bindAddress="+s.advertised(),
		fmt.Sprintf("listenPort=%d", s.Ports.Broker),
		"namesrvAddr="+layout.Address(layout.Loopback, s.Ports.NameServer),
		"storePathRootDir="+store,
		"storePathCommitLog="+store+"/commitlog",
		"autoCreateTopicEnable=true",
		"autoCreateSubscriptionGroup=true",
		"flushDiskType=ASYNC_FLUSH",
		"brokerRole=ASYNC_MASTER",
		"mappedFileSizeCommitLog=134217728",
		"diskMaxUsedSpaceRatio=95",
	)
}

func (s Set) kafkaConf(data string) string {
	host := layout.Address(layout.Loopback, s.Ports.Kafka)
	listeners, advertised := "HOST://"+host, "HOST://"+host
	if s.Pods {
		pods := ",PODS://" + layout.Address(layout.BridgeIP, s.Ports.KafkaPods)
		listeners, advertised = listeners+pods, advertised+pods
	}
	controller := layout.Address(layout.Loopback, s.Ports.KafkaController)
	return properties(
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.voters=1@"+controller,
		"listeners="+listeners+",CONTROLLER://"+controller,
		"advertised.listeners="+advertised,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=HOST",
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,HOST:PLAINTEXT,PODS:PLAINTEXT",
		"log.dirs="+data,
		"num.partitions=4",
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	)
}

// kafkaClusterID makes an id as Kafka writes them: 16 bytes, base64url without padding, no dash ahead.
func kafkaClusterID() (string, error) {
	for {
		var b [16]byte
		if _, err := rand.Read(b[:]); err != nil {
			return "", fmt.Errorf("making Kafka's cluster id: %w", err)
		}
		if id := base64.RawURLEncoding.EncodeToString(b[:]); id[0] != '-' {
			return id, nil
		}
	}
}
