// Package config holds what a worker reads: its own file (connect.conf) and the keys of connector configs that belong
// to the worker rather than to a connector. It does no IO but reading files that it is told to read.
package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The allocation strategies.
const (
	ConsistentHash = "ConsistentHash"
	Averagely      = "Averagely"
)

// The shapes of getClusterInfo's answer (restCompat).
const (
	// CompatOld answers the bare array of the user's documents.
	CompatOld = "old"
	// CompatNew answers the envelope of the newer Java runtime.
	CompatNew = "new"
)

// What the secret keys of connectors may hold (config.secrets).
const (
	// SecretsAny takes values and references.
	SecretsAny = "any"
	// SecretsReferenceOnly takes references.
	SecretsReferenceOnly = "reference-only"
)

// Worker is a worker's configuration. The comment of each field names its key in connect.conf. One value holds them
// all, as the file does.
type Worker struct {
	// WorkerID (workerId) is unique among the live workers of a cluster and stable over restarts. Empty: <ip>@<httpPort>.
	WorkerID string
	// ClusterID (connectClusterId): workers with the same name servers and cluster id are one cluster.
	ClusterID string
	// NamesrvAddrs (namesrvAddr) are RocketMQ name servers, host:port.
	NamesrvAddrs []string
	// HTTPHost (httpHost) is the address that the REST API listens on; empty: all, and without a token only callers on
	// this machine are answered. HTTPPort (httpPort) is its port.
	HTTPHost string
	HTTPPort int
	// ProbePort (probePort) is a port of their own for probes and metrics; 0: HTTPPort.
	ProbePort int
	// HTTPHostNames (httpHostNames) are further host names by which the REST API may be called; *.x is all below x.
	HTTPHostNames []string
	// HTTPConnections (httpConnections) and HTTPConnectionsPerAddress (httpConnectionsPerAddress) bound the connections to
	// HTTPPort, HTTPStreams (httpStreams) and HTTPStreamsPerAddress (httpStreamsPerAddress) the watch streams on them.
	HTTPConnections, HTTPConnectionsPerAddress, HTTPStreams, HTTPStreamsPerAddress int
	// HTTPTLSCert (httpTlsCert) and HTTPTLSKey (httpTlsKey) are the files with which HTTPPort speaks TLS; empty: it is
	// plain. HTTPTLSClientCA (httpTlsClientCA) has the authorities of the certificates that callers must show then; empty:
	// none.
	HTTPTLSCert, HTTPTLSKey, HTTPTLSClientCA string
	// AdvertisedAddress (advertisedAddress) is host:port under which others reach the REST API. Empty: <ip>:<httpPort>.
	AdvertisedAddress string
	// StoreDir (storePathRootDir) is this worker's own folder on local storage.
	StoreDir string
	// PluginPaths (pluginPaths) are folders with connector plugins.
	PluginPaths []string

	// SecretsDir (secretsDir) holds what ${secret:name:key} in a connector's config refers to. SecretDirs (secretDirs) are
	// further folders, SecretEnv (secretEnv) variables of the environment, that references may read.
	SecretsDir            string
	SecretDirs, SecretEnv []string
	// ConfigSecrets (config.secrets) is SecretsAny or SecretsReferenceOnly.
	ConfigSecrets string

	// ACLEnable (aclEnable) signs requests with AccessKey and SecretKey (accessKey, secretKey, securityToken), or with the
	// files of these names in CredentialsDir (credentialsDir).
	ACLEnable                           bool
	AccessKey, SecretKey, SecurityToken string
	CredentialsDir                      string
	// TLSEnable (tlsEnable) has RocketMQ reached by TLS. TLSCA (tlsCA), TLSCert and TLSKey (tlsCert, tlsKey) are PEM
	// files, all of them optional; TLSServerName (tlsServerName) is the name that servers' certificates must have, empty:
	// the host dialled.
	TLSEnable                             bool
	TLSCA, TLSCert, TLSKey, TLSServerName string
	// Namespace (namespace) is RocketMQ's namespace of all topics and groups; empty: none.
	Namespace string
	// AutoCreateGroup (autoCreateGroupEnable) creates the consumer groups of sinks.
	AutoCreateGroup bool

	// RESTTokenFile (restTokenFile) holds the bearer token that callers of the REST API must send; empty: none is asked
	// for.
	RESTTokenFile string
	// RESTCompat (restCompat) is CompatOld or CompatNew.
	RESTCompat string
	// CompatRoutes (compatRoutes) serves the older runtimes' routes, which change state by GET.
	CompatRoutes bool

	// Strategy (allocTaskStrategy) is ConsistentHash or Averagely; VirtualNode (virtualNode) the ring's nodes a worker;
	// MaxLoadFactor (maxLoadFactor) bounds a worker's share against the mean, 0 is the plain ring.
	Strategy      string
	VirtualNode   int
	MaxLoadFactor float64

	// HeartbeatInterval (heartbeatInterval), SessionTimeout (sessionTimeout) and SendTimeout (sendTimeout) rule
	// membership: a worker that is not heard of for SessionTimeout loses its tasks.
	HeartbeatInterval, SessionTimeout, SendTimeout time.Duration
	// RebalanceDelay (rebalanceDelay) keeps the tasks of a worker that left for it to come back.
	RebalanceDelay time.Duration
	// FlushInterval (positionPersistInterval, offsetPersistInterval) is how often positions and offsets are stored.
	FlushInterval time.Duration
	// DrainTimeout (drainTimeout) is how long a stopping worker may take to hand its tasks over.
	DrainTimeout time.Duration

	// Topics are the internal topics; ClusterTopicBroker (clusterTopicBroker) names the broker of the cluster topic,
	// empty: the first by name.
	Topics             Topics
	ClusterTopicBroker string

	// LogLevel (logLevel) is debug, info, warn or error; LogFormat (logFormat) json or console.
	LogLevel, LogFormat string
}

// Topics names the internal topics.
type Topics struct {
	// Cluster (clusterStoreTopic), Config (configStoreTopic), Position (positionStoreTopic), Offset (offsetStoreTopic),
	// Status (statusStoreTopic, connectStatusTopic).
	Cluster, Config, Position, Offset, Status string
}

// All lists them, the one that the others lie beside first.
func (t Topics) All() []string { return []string{t.Cluster, t.Config, t.Position, t.Offset, t.Status} }

// Internal reports whether a topic is one of a cluster's own: one of these, or one that is named as another cluster's
// are unless its configuration says otherwise.
func (t Topics) Internal(topic string) bool {
	return slices.Contains(t.All(), topic) ||
		slices.ContainsFunc(Default().Topics.All(), func(name string) bool { return strings.HasSuffix(topic, name) })
}

// Default returns the configuration of an empty connect.conf. It is not valid: name servers have no default.
func Default() Worker {
	return Worker{
		ClusterID:       "DefaultConnectCluster",
		HTTPPort:        8082,
		HTTPConnections: 512, HTTPConnectionsPerAddress: 64,
		HTTPStreams: 128, HTTPStreamsPerAddress: 16,
		StoreDir:          defaultStoreDir(),
		SecretsDir:        "/etc/rocketmq-connect/secrets",
		ConfigSecrets:     SecretsAny,
		AutoCreateGroup:   true,
		RESTCompat:        CompatOld,
		CompatRoutes:      true,
		Strategy:          ConsistentHash,
		VirtualNode:       160,
		MaxLoadFactor:     1.25,
		HeartbeatInterval: 500 * time.Millisecond,
		SessionTimeout:    5 * time.Second,
		SendTimeout:       2 * time.Second,
		FlushInterval:     time.Second,
		DrainTimeout:      60 * time.Second,
		Topics: Topics{
			Cluster:  "connector-cluster-topic",
			Config:   "connector-config-topic",
			Position: "connector-position-topic",
			Offset:   "connector-offset-topic",
			Status:   "connector-status-topic",
		},
		LogLevel:  "info",
		LogFormat: "json",
	}
}

func defaultStoreDir() string {
	home, err := os.UserHomeDir()
	if err != nil {
		return "connectorStore"
	}
	return filepath.Join(home, "connectorStore")
}

// String shows the configuration without its secrets.
func (w Worker) String() string {
	var b strings.Builder
	for _, k := range keys() {
		if v := k.get(&w); v != "" {
			if k.secret {
				v = "********"
			}
			fmt.Fprintf(&b, "%s=%s ", k.name, v)
		}
	}
	return strings.TrimSuffix(b.String(), " ")
}

// GoString is String, so that no verb prints secrets.
func (w Worker) GoString() string { return w.String() }

// Credentials are what requests to RocketMQ are signed with; all empty: not at all.
type Credentials struct{ AccessKey, SecretKey, SecurityToken string }

// Credentials returns the keys of the file, or reads those in CredentialsDir. None when ACLEnable is false.
func (w Worker) Credentials() (Credentials, error) {
	if !w.ACLEnable {
		return Credentials{}, nil
	}
	if w.CredentialsDir == "" {
		return Credentials{w.AccessKey, w.SecretKey, w.SecurityToken}, nil
	}
	var c Credentials
	for name, to := range map[string]*string{"accessKey": &c.AccessKey, "secretKey": &c.SecretKey} {
		b, err := os.ReadFile(filepath.Join(w.CredentialsDir, name))
		if err != nil {
			return Credentials{}, fmt.Errorf("reading credentialsDir: %w", err)
		}
		if *to = strings.TrimSpace(string(b)); *to == "" {
			return Credentials{}, fmt.Errorf("reading credentialsDir: %s is empty", filepath.Join(w.CredentialsDir, name))
		}
	}
	b, err := os.ReadFile(filepath.Join(w.CredentialsDir, "securityToken"))
	if err != nil && !os.IsNotExist(err) {
		return Credentials{}, fmt.Errorf("reading credentialsDir: %w", err)
	}
	c.SecurityToken = strings.TrimSpace(string(b))
	return c, nil
}
