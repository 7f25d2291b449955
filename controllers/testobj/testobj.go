// Package testobj makes objects for tests: valid as they come, changed by methods, taken by Obj.
package testobj

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// Namespace is that of all objects until InNamespace changes it.
const Namespace = "test"

// ClusterMaker makes a ConnectCluster.
type ClusterMaker struct{ c *v1alpha1.ConnectCluster }

// Cluster begins a ConnectCluster as the API server would have stored it: with the schema's defaults.
func Cluster(name string) ClusterMaker {
	return ClusterMaker{&v1alpha1.ConnectCluster{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "ConnectCluster"},
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name, UID: types.UID("uid-of-" + name)},
		Spec: v1alpha1.ConnectClusterSpec{
			Replicas: ptr.To[int32](3),
			RocketMQ: v1alpha1.RocketMQSpec{NameServers: []string{"namesrv-0:9876", "namesrv-1:9876"}},
		},
	}}
}

// With applies a change of the caller's.
func (m ClusterMaker) With(change func(*v1alpha1.ConnectCluster)) ClusterMaker {
	change(m.c)
	return m
}

// InNamespace sets the namespace.
func (m ClusterMaker) InNamespace(ns string) ClusterMaker {
	m.c.Namespace = ns
	return m
}

// Replicas sets the number of workers.
func (m ClusterMaker) Replicas(n int32) ClusterMaker {
	m.c.Spec.Replicas = &n
	return m
}

// Config sets one worker setting.
func (m ClusterMaker) Config(key string, value v1alpha1.WorkerSetting) ClusterMaker {
	if m.c.Spec.Config == nil {
		m.c.Spec.Config = map[string]v1alpha1.WorkerSetting{}
	}
	m.c.Spec.Config[key] = value
	return m
}

// Obj returns the object.
func (m ClusterMaker) Obj() *v1alpha1.ConnectCluster { return m.c }

// ConnectorMaker makes a Connector.
type ConnectorMaker struct{ c *v1alpha1.Connector }

// Connector begins a KafkaSource with four tasks on the cluster "demo".
func Connector(name string) ConnectorMaker {
	return ConnectorMaker{&v1alpha1.Connector{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Connector"},
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name},
		Spec: v1alpha1.ConnectorSpec{
			ClusterRef: v1alpha1.ClusterReference{Name: "demo"},
			Class:      "KafkaSource",
			MaxTasks:   ptr.To[int32](4),
			State:      v1alpha1.ConnectorRunning,
			Config:     map[string]v1alpha1.ConnectorSetting{"kafka.topics": "orders", "kafka.bootstrap.server": "kafka:9092"},
		},
	}}
}

// With applies a change of the caller's.
func (m ConnectorMaker) With(change func(*v1alpha1.Connector)) ConnectorMaker {
	change(m.c)
	return m
}

// InNamespace sets the namespace.
func (m ConnectorMaker) InNamespace(ns string) ConnectorMaker {
	m.c.Namespace = ns
	return m
}

// OnCluster sets the cluster.
func (m ConnectorMaker) OnCluster(name string) ConnectorMaker {
	m.c.Spec.ClusterRef.Name = name
	return m
}

// State sets the desired state.
func (m ConnectorMaker) State(s v1alpha1.ConnectorState) ConnectorMaker {
	m.c.Spec.State = s
	return m
}

// Class sets the class.
func (m ConnectorMaker) Class(class string) ConnectorMaker {
	m.c.Spec.Class = class
	return m
}

// Config sets one setting.
func (m ConnectorMaker) Config(key, value string) ConnectorMaker {
	m.c.Spec.Config[key] = v1alpha1.ConnectorSetting(value)
	return m
}

// Deleting makes the object one that is being deleted.
func (m ConnectorMaker) Deleting() ConnectorMaker {
	m.c.DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1_700_000_000, 0)))
	return m
}

// Obj returns the object.
func (m ConnectorMaker) Obj() *v1alpha1.Connector { return m.c }
