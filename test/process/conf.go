package process

import (
	"fmt"
	"os"
)

// Conf is the settings of a worker that differ between tests.
type Conf struct {
	ID, ClusterID, NameServers, StoreDir string
	Port                                 int
	// More is further lines.
	More string
}

// Text is a connect.conf in the form of the user's documents, trailing comments included.
func (c Conf) Text() string {
	return fmt.Sprintf(`workerId=%s  #本节点名称,各个worker之间必须唯一
storePathRootDir=%s #本地持久化文件路径,保存偏移量和config信息

# Http port for user to access REST API
httpPort=%d #rest地址

# Rocketmq namesrvAddr
namesrvAddr=%s  #sink端会从改nameSrv指定的rocketMQ集群上拉取消息,同时也会作为节点信息交换的媒介

# RocketMQ acl #账号需要有admin的权限
aclEnable=false
accessKey=rocketmq
secretKey=12345678

autoCreateGroupEnable=true #自动调用admin工具创建consumerGroup.如手工创建可设置为false

# 负载均衡策略
allocTaskStrategy=org.apache.rocketmq.connect.runtime.service.strategy.AllocateConnAndTaskStrategyByConsistentHash

connectClusterId=%[5]s
clusterStoreTopic=%[5]s-cluster
configStoreTopic=%[5]s-config
positionStoreTopic=%[5]s-position
offsetStoreTopic=%[5]s-offset
connectStatusTopic=%[5]s-status
%[6]s
`, c.ID, c.StoreDir, c.Port, c.NameServers, c.ClusterID, c.More)
}

// Write writes the file.
func (c Conf) Write(path string) error {
	if err := os.WriteFile(path, []byte(c.Text()), 0o600); err != nil {
		return fmt.Errorf("writing a worker's configuration: %w", err)
	}
	return nil
}

// InternalTopics are the topics of a cluster that Conf configures.
func InternalTopics(clusterID string) []string {
	var out []string
	for _, kind := range []string{"cluster", "config", "position", "offset", "status"} {
		out = append(out, clusterID+"-"+kind)
	}
	return out
}
