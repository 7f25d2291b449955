package kube

import "fmt"

// The names that the manifests below and the operator's children have.
const (
	Namespace   = "demo"
	ClusterName = "demo"
	// WorkerSelector selects the worker pods of ClusterName.
	WorkerSelector  = "app.kubernetes.io/instance=demo,app.kubernetes.io/component=worker"
	WorkerContainer = "worker"
	WorkerBinary    = "worker"
)

// ClusterYAML is a namespace with a ConnectCluster on the local stack's RocketMQ.
func ClusterYAML(replicas int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Namespace
metadata:
  name: demo
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: connect.rocketmq.io/v1alpha1
kind: ConnectCluster
metadata: {name: demo, namespace: demo}
spec:
  replicas: %d
  rocketmq:
    nameServers: ["rocketmq-namesrv.rocketmq:9876"]
`, replicas)
}

// SourceYAML moves a Kafka topic into the RocketMQ topic of the same name, by connector <topic>-in.
func SourceYAML(topic string) string {
	return fmt.Sprintf(`apiVersion: connect.rocketmq.io/v1alpha1
kind: Connector
metadata: {name: %[1]s-in, namespace: demo}
spec:
  clusterRef: {name: demo}
  class: KafkaSource
  maxTasks: 4
  config:
    kafka.bootstrap.server: kafka.kafka:9092
    kafka.topics: %[1]s
`, topic)
}

// SinkYAML moves a RocketMQ topic into the Kafka topic <topic>-copy, by connector <topic>-out.
func SinkYAML(topic string) string {
	return fmt.Sprintf(`apiVersion: connect.rocketmq.io/v1alpha1
kind: Connector
metadata: {name: %[1]s-out, namespace: demo}
spec:
  clusterRef: {name: demo}
  class: KafkaSink
  maxTasks: 4
  config:
    kafka.bootstrap.server: kafka.kafka:9092
    topicNames: %[1]s
    topic.rename.format: ${topic}-copy
`, topic)
}
