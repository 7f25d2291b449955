// Package v1alpha1 holds the API types of connect.rocketmq.io: ConnectCluster and Connector.
//
// +kubebuilder:object:generate=true
// +groupName=connect.rocketmq.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupName is the API group of every kind in this package.
const GroupName = "connect.rocketmq.io"

// SchemeGroupVersion is the group and version of every kind in this package.
var SchemeGroupVersion = schema.GroupVersion{Group: GroupName, Version: "v1alpha1"}

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion,
		&ConnectCluster{}, &ConnectClusterList{},
		&Connector{}, &ConnectorList{},
	)
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}
