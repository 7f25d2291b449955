package broker

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
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

// brokerName is the one broker's.
const brokerName = "broker-a"

func properties(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

func (s Set) nameServerConf() string {
	return properties(fmt.Sprintf("listenPort=%d", s.Ports.NameServer), "bindAddress="+s.nameServerHost())
}

// store keeps the versions' data apart: neither reads all that the other writes.
func (s Set) store(home string) string {
	if s.Version == fetch.RocketMQ5 {
		return home + "/store"
	}
	return home + "/store-" + s.Version
}

func (s Set) brokerConf(store string) string {
	lines := []string{
		"brokerClusterName=DefaultCluster",
		"brokerName=" + brokerName,
		"brokerId=0",
		"brokerIP1=" + s.advertised(),
		"bindAddress=" + s.advertised(),
		fmt.Sprintf("listenPort=%d", s.Ports.Broker),
		"namesrvAddr=" + layout.Address(layout.Loopback, s.Ports.NameServer),
		"storePathRootDir=" + store,
		"storePathCommitLog=" + store + "/commitlog",
		"autoCreateTopicEnable=true",
		"autoCreateSubscriptionGroup=true",
		"flushDiskType=ASYNC_FLUSH",
		"brokerRole=ASYNC_MASTER",
		"mappedFileSizeCommitLog=134217728",
		"diskMaxUsedSpaceRatio=95",
	}
	switch {
	case s.ACL && s.Version == fetch.RocketMQ4:
		lines = append(lines, "aclEnable=true")
	case s.ACL:
		lines = append(lines, authentication()...)
	}
	return properties(lines...)
}

// The one user that RocketMQ knows when it checks signatures.
const (
	AccessKey = "rocketmq"
	SecretKey = "12345678"
)

// authentication are the settings of the 5.x line; brokers sign what they send each other as the same user.
func authentication() []string {
	auth := func(name string) string { return "org.apache.rocketmq.auth." + name }
	return []string{
		"authenticationEnabled=true",
		"authenticationProvider=" + auth("authentication.provider.DefaultAuthenticationProvider"),
		"authenticationMetadataProvider=" + auth("authentication.provider.LocalAuthenticationMetadataProvider"),
		fmt.Sprintf(`initAuthenticationUser={"username":%q,"password":%q}`, AccessKey, SecretKey),
		fmt.Sprintf(`innerClientAuthenticationCredentials={"accessKey":%q,"secretKey":%q}`, AccessKey, SecretKey),
		"authorizationEnabled=true",
		"authorizationProvider=" + auth("authorization.provider.DefaultAuthorizationProvider"),
		"authorizationMetadataProvider=" + auth("authorization.provider.LocalAuthorizationMetadataProvider"),
	}
}

// homeFile is a file that a process looks for below its ROCKETMQ_HOME; path is relative to the folder of all.
type homeFile struct{ reader, path, content string }

// homeFiles are what only the 4.x line needs: it does not start without a logging configuration.
func (s Set) homeFiles() []homeFile {
	if s.Version != fetch.RocketMQ4 {
		return nil
	}
	files := []homeFile{
		{reader: NameServer, path: "namesrv/conf/logback_namesrv.xml", content: logback("namesrv")},
		{reader: RocketMQ, path: "broker/conf/logback_broker.xml", content: logback("broker")},
	}
	if s.ACL {
		files = append(files, homeFile{reader: RocketMQ, path: "broker/conf/plain_acl.yml", content: plainACL()})
	}
	return files
}

// logback logs to the file that the 5.x line logs to.
func logback(process string) string {
	return fmt.Sprintf(`<configuration>
  <appender name="file" class="ch.qos.logback.core.FileAppender">
    <file>${user.home}/logs/rocketmqlogs/%s.log</file>
    <encoder><pattern>%%d{yyyy-MM-dd HH:mm:ss.SSS} %%p %%t - %%m%%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="file"/></root>
</configuration>
`, process)
}

// plainACL gives the user all rights, those of an administrator included.
func plainACL() string {
	return fmt.Sprintf("accounts:\n- accessKey: %s\n  secretKey: %q\n  admin: true\n", AccessKey, SecretKey)
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
