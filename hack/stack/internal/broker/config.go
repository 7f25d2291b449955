package broker

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

// rocketmqFlags open what the broker's direct buffers need on JDK 17, and let it write to a disk that is nearly full:
// by default it refuses at 90 %.
func rocketmqFlags(direct string) []string {
	return []string{
		"-XX:MaxDirectMemorySize=" + direct,
		"--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
		"--add-opens=java.base/java.util=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED",
		"--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED", "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
		"-Drocketmq.broker.diskSpaceWarningLevelRatio=0.98", "-Drocketmq.broker.diskSpaceCleanForciblyRatio=0.97",
	}
}

// kafkaLogging has warnings and Kafka's own start and stop written to its output.
var kafkaLogging = []string{
	"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
	"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSZ",
}

func properties(lines ...string) string { return strings.Join(lines, "\n") + "\n" }

// conf is the configuration of a process.
func (s Set) conf(n node) string {
	switch n.program {
	case namesrvProgram:
		return s.nameServerConf(n)
	case proxyProgram:
		return s.proxyConf(n)
	}
	return s.brokerConf(n)
}

func (s Set) nameServerConf(n node) string {
	lines := []string{fmt.Sprintf("listenPort=%d", n.port), "bindAddress=" + s.nameServerHost()}
	if s.hasController(n) {
		lines = append(lines,
			"enableControllerInNamesrv=true",
			"controllerDLegerGroup=controller",
			"controllerDLegerPeers=n0-"+layout.Address(layout.Loopback, s.Ports.Controller),
			"controllerDLegerSelfId=n0",
			"controllerStorePath="+s.store(n),
		)
	}
	return properties(lines...)
}

// hasController says whether a process is the name server that the controller runs in: the first.
func (s Set) hasController(n node) bool { return s.Topology == Controller && n.name == NameServer }

// store is the folder of a process's data. The versions' data are kept apart: neither reads all that the other writes.
func (s Set) store(n node) string {
	path := s.home("store")
	if s.Topology != Single || n.name != RocketMQ {
		path = s.home(n.folder, "store")
	}
	if s.Version == fetch.RocketMQ5 {
		return path
	}
	return path + "-" + s.Version
}

func (s Set) brokerConf(n node) string {
	store := s.store(n)
	lines := []string{"brokerClusterName=DefaultCluster", "brokerName=" + n.brokerOf}
	if id, given := map[string]int{asyncMaster: 0, syncMaster: 0, slave: 1}[n.role]; given {
		lines = append(lines, fmt.Sprintf("brokerId=%d", id))
	}
	lines = append(lines,
		"brokerIP1="+s.advertised(),
		"bindAddress="+s.advertised(),
		fmt.Sprintf("listenPort=%d", n.port),
		"namesrvAddr="+strings.Join(s.NameServers(), ";"),
		"storePathRootDir="+store,
		"storePathCommitLog="+store+"/commitlog",
		"autoCreateTopicEnable=true",
		"autoCreateSubscriptionGroup=true",
		"flushDiskType=ASYNC_FLUSH",
	)
	if n.role != "" {
		lines = append(lines, "brokerRole="+n.role)
	}
	lines = append(lines, fmt.Sprintf("mappedFileSizeCommitLog=%d", n.memory.fileSize), "diskMaxUsedSpaceRatio=95")
	lines = append(lines, s.replication(n)...)
	switch {
	case s.ACL && s.Version == fetch.RocketMQ4:
		lines = append(lines, "aclEnable=true")
	case s.ACL:
		lines = append(lines, authentication()...)
	}
	return properties(lines...)
}

// replication are the settings of brokers that have replicas. Replicas find each other at brokerIP2, which is an
// address of the machine's network unless it is given.
func (s Set) replication(n node) []string {
	lines := []string{"brokerIP2=" + layout.Loopback, fmt.Sprintf("haListenPort=%d", replicationPort(n))}
	switch {
	case s.Topology == Controller:
		return append(lines, "enableControllerMode=true", "controllerAddr="+layout.Address(layout.Loopback, s.Ports.Controller))
	case s.Topology != Replicated:
		return nil
	case n.role == syncMaster && s.Version == fetch.RocketMQ5: // waits for no slave while one replica, itself, is enough
		return append(lines, "inSyncReplicas=2")
	}
	return lines
}

// proxyConf has the proxy serve both protocols on the loopback address, and give out that address in routes.
func (s Set) proxyConf(n node) string {
	return fmt.Sprintf(`{
  "rocketMQClusterName": "DefaultCluster",
  "proxyClusterName": "DefaultCluster",
  "proxyMode": "CLUSTER",
  "namesrvAddr": %q,
  "localServeAddr": %q,
  "remotingListenPort": %d,
  "grpcServerPort": %d
}
`, strings.Join(s.NameServers(), ";"), layout.Loopback, n.port, s.Ports.ProxyGRPC)
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
type homeFile struct{ path, content string }

// homeFiles are what only the 4.x line needs: it does not start without a logging configuration.
func (s Set) homeFiles(n node) []homeFile {
	if s.Version != fetch.RocketMQ4 {
		return nil
	}
	conf := n.folder + "/conf/"
	files := []homeFile{{path: conf + "logback_" + n.short + ".xml", content: logback(n.short)}}
	if s.ACL && n.program == brokerProgram {
		files = append(files, homeFile{path: conf + "plain_acl.yml", content: plainACL()})
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

// PlainACL is the file with the users of a single broker of the 4.x line that checks signatures; the broker reads it
// again when it changes. It is "" where there is none.
func (s Set) PlainACL() string {
	if !s.ACL || s.Version != fetch.RocketMQ4 || s.Topology != Single {
		return ""
	}
	return s.home("broker", "conf", "plain_acl.yml")
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
