// Package crd holds the CustomResourceDefinitions that controller-gen writes, for programs that check objects without
// an API server.
package crd

import _ "embed"

//go:embed connect.rocketmq.io_connectors.yaml
var connectors []byte

//go:embed connect.rocketmq.io_connectclusters.yaml
var connectClusters []byte

// Connectors is the definition of Connector, as YAML.
func Connectors() []byte { return append([]byte(nil), connectors...) }

// ConnectClusters is the definition of ConnectCluster, as YAML.
func ConnectClusters() []byte { return append([]byte(nil), connectClusters...) }
