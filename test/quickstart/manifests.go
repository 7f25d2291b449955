package main

import "fmt"

const (
	namespace = "demo"
	// workers names the StatefulSet's pods: cluster demo, component worker.
	workerSelector  = "app.kubernetes.io/instance=demo,app.kubernetes.io/component=worker"
	workerContainer = "worker"
	workerBinary    = "worker"
)

const clusterYAML = `apiVersion: v1
kind: Namespace
metadata:
  name: demo
  labels: {pod-security.kubernetes.io/enforce: restricted}
---
apiVersion: connect.rocketmq.io/v1alpha1
kind: ConnectCluster
metadata: {name: demo, namespace: demo}
spec:
  replicas: 3
  rocketmq:
    nameServers: ["rocketmq-namesrv.rocketmq:9876"]
`

// sourceYAML moves a Kafka topic into the RocketMQ topic of the same name, sinkYAML moves that into the Kafka topic
// <topic>-copy.
func sourceYAML(topic string) string {
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

func sinkYAML(topic string) string {
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
