package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// key is one setting of connect.conf.
type key struct {
	name    string
	aliases []string
	form    string
	secret  bool
	set     func(w *Worker, value string) error
	get     func(w *Worker) string
}

// keys returns every key that a worker understands, in the order in which they are shown.
func keys() []key {
	return []key{
		text("workerId", func(w *Worker) *string { return &w.WorkerID }),
		text("connectClusterId", func(w *Worker) *string { return &w.ClusterID }),
		list("namesrvAddr", ";,", func(w *Worker) *[]string { return &w.NamesrvAddrs }),
		text("httpHost", func(w *Worker) *string { return &w.HTTPHost }),
		number("httpPort", func(w *Worker) *int { return &w.HTTPPort }),
		number("probePort", func(w *Worker) *int { return &w.ProbePort }),
		list("httpHostNames", ",", func(w *Worker) *[]string { return &w.HTTPHostNames }),
		number("httpConnections", func(w *Worker) *int { return &w.HTTPConnections }),
		number("httpConnectionsPerAddress", func(w *Worker) *int { return &w.HTTPConnectionsPerAddress }),
		number("httpStreams", func(w *Worker) *int { return &w.HTTPStreams }),
		number("httpStreamsPerAddress", func(w *Worker) *int { return &w.HTTPStreamsPerAddress }),
		text("httpTlsCert", func(w *Worker) *string { return &w.HTTPTLSCert }),
		text("httpTlsKey", func(w *Worker) *string { return &w.HTTPTLSKey }),
		text("httpTlsClientCA", func(w *Worker) *string { return &w.HTTPTLSClientCA }),
		text("advertisedAddress", func(w *Worker) *string { return &w.AdvertisedAddress }),
		text("storePathRootDir", func(w *Worker) *string { return &w.StoreDir }),
		list("pluginPaths", ",", func(w *Worker) *[]string { return &w.PluginPaths }),
		text("secretsDir", func(w *Worker) *string { return &w.SecretsDir }),
		list("secretDirs", ",", func(w *Worker) *[]string { return &w.SecretDirs }),
		list("secretEnv", ",", func(w *Worker) *[]string { return &w.SecretEnv }),
		text("config.secrets", func(w *Worker) *string { return &w.ConfigSecrets }),
		boolean("aclEnable", func(w *Worker) *bool { return &w.ACLEnable }),
		secret(text("accessKey", func(w *Worker) *string { return &w.AccessKey })),
		secret(text("secretKey", func(w *Worker) *string { return &w.SecretKey })),
		secret(text("securityToken", func(w *Worker) *string { return &w.SecurityToken })),
		text("credentialsDir", func(w *Worker) *string { return &w.CredentialsDir }),
		boolean("tlsEnable", func(w *Worker) *bool { return &w.TLSEnable }),
		text("tlsCA", func(w *Worker) *string { return &w.TLSCA }),
		text("tlsCert", func(w *Worker) *string { return &w.TLSCert }),
		text("tlsKey", func(w *Worker) *string { return &w.TLSKey }),
		text("tlsServerName", func(w *Worker) *string { return &w.TLSServerName }),
		text("namespace", func(w *Worker) *string { return &w.Namespace }),
		boolean("autoCreateGroupEnable", func(w *Worker) *bool { return &w.AutoCreateGroup }),
		text("restTokenFile", func(w *Worker) *string { return &w.RESTTokenFile }),
		text("restCompat", func(w *Worker) *string { return &w.RESTCompat }),
		boolean("compatRoutes", func(w *Worker) *bool { return &w.CompatRoutes }),
		strategy("allocTaskStrategy"),
		number("virtualNode", func(w *Worker) *int { return &w.VirtualNode }),
		decimal("maxLoadFactor", func(w *Worker) *float64 { return &w.MaxLoadFactor }),
		span("heartbeatInterval", func(w *Worker) *time.Duration { return &w.HeartbeatInterval }),
		span("sessionTimeout", func(w *Worker) *time.Duration { return &w.SessionTimeout }),
		span("sendTimeout", func(w *Worker) *time.Duration { return &w.SendTimeout }),
		span("rebalanceDelay", func(w *Worker) *time.Duration { return &w.RebalanceDelay }),
		span("positionPersistInterval", func(w *Worker) *time.Duration { return &w.FlushInterval }, "offsetPersistInterval"),
		span("drainTimeout", func(w *Worker) *time.Duration { return &w.DrainTimeout }),
		text("clusterStoreTopic", func(w *Worker) *string { return &w.Topics.Cluster }),
		text("configStoreTopic", func(w *Worker) *string { return &w.Topics.Config }),
		text("positionStoreTopic", func(w *Worker) *string { return &w.Topics.Position }),
		text("offsetStoreTopic", func(w *Worker) *string { return &w.Topics.Offset }),
		text("statusStoreTopic", func(w *Worker) *string { return &w.Topics.Status }, "connectStatusTopic"),
		text("clusterTopicBroker", func(w *Worker) *string { return &w.ClusterTopicBroker }),
		text("logLevel", func(w *Worker) *string { return &w.LogLevel }),
		text("logFormat", func(w *Worker) *string { return &w.LogFormat }),
	}
}

// WithoutEffect returns the keys of the Java runtime that change nothing here: they are no mistakes, but worth a word.
func WithoutEffect() []string {
	return []string{
		"autoCreateTopicEnable", "keyConverter", "valueConverter", "configPersistInterval", "statePersistInterval",
		"rmqProducerGroup", "rmqConsumerGroup", "adminExtGroup", "rmqMaxRedeliveryTimes", "rmqMessageConsumeTimeout",
		"rmqMaxConsumeThreadNums", "rmqMinConsumeThreadNums", "brokerSuspendMaxTimeMillis", "operationTimeout", "maxMessageSize",
		"maxStartTimeoutMills", "maxStopTimeoutMills", "offsetCommitTimeoutMsConfig", "offsetCommitIntervalMsConfig",
		"clusterManagementService", "configManagementService", "positionManagementService", "stateManagementService",
		"openLogMetricReporter", "metricsConfigPath", "clusterName",
	}
}

func text(name string, at func(*Worker) *string, aliases ...string) key {
	return key{
		name: name, aliases: aliases, form: "text",
		set: func(w *Worker, v string) error { *at(w) = v; return nil },
		get: func(w *Worker) string { return *at(w) },
	}
}

func secret(k key) key {
	k.secret = true
	return k
}

func list(name, separators string, at func(*Worker) *[]string) key {
	return key{
		name: name, form: "list, separated by " + strings.Join(strings.Split(separators, ""), " or "),
		set: func(w *Worker, v string) error { *at(w) = fields(v, separators); return nil },
		get: func(w *Worker) string { return strings.Join(*at(w), separators[:1]) },
	}
}

// fields splits at any of the separators and leaves out empty parts.
func fields(v, separators string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func number(name string, at func(*Worker) *int) key {
	return key{
		name: name, form: "whole number",
		set: func(w *Worker, v string) error {
			n, err := strconv.Atoi(v)
			if err != nil {
				return fmt.Errorf("must be a whole number, not %q", v)
			}
			*at(w) = n
			return nil
		},
		get: func(w *Worker) string { return strconv.Itoa(*at(w)) },
	}
}

func decimal(name string, at func(*Worker) *float64) key {
	return key{
		name: name, form: "number",
		set: func(w *Worker, v string) error {
			n, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return fmt.Errorf("must be a number, not %q", v)
			}
			*at(w) = n
			return nil
		},
		get: func(w *Worker) string { return strconv.FormatFloat(*at(w), 'g', -1, 64) },
	}
}

func boolean(name string, at func(*Worker) *bool) key {
	return key{
		name: name, form: "true or false",
		set: func(w *Worker, v string) error {
			b, err := strconv.ParseBool(strings.ToLower(v))
			if err != nil {
				return fmt.Errorf("must be true or false, not %q", v)
			}
			*at(w) = b
			return nil
		},
		get: func(w *Worker) string { return strconv.FormatBool(*at(w)) },
	}
}

// span reads a Go duration ("1.5s"), or a bare number of milliseconds as the Java runtime's keys have it.
func span(name string, at func(*Worker) *time.Duration, aliases ...string) key {
	return key{
		name: name, aliases: aliases, form: "duration, or milliseconds",
		set: func(w *Worker, v string) error {
			d, err := time.ParseDuration(v)
			if ms, msErr := strconv.ParseInt(v, 10, 32); msErr == nil {
				d, err = time.Duration(ms)*time.Millisecond, nil
			}
			if err != nil {
				return fmt.Errorf("must be a duration such as 500ms, or a number of milliseconds, not %q", v)
			}
			*at(w) = d
			return nil
		},
		get: func(w *Worker) string { return at(w).String() },
	}
}

// strategy accepts the Java class names, too.
func strategy(name string) key {
	return key{
		name: name, form: ConsistentHash + " or " + Averagely,
		set: func(w *Worker, v string) error {
			switch v[strings.LastIndexByte(v, '.')+1:] {
			case ConsistentHash, "AllocateConnAndTaskStrategyByConsistentHash":
				w.Strategy = ConsistentHash
			case Averagely, "DefaultAllocateConnAndTaskStrategy":
				w.Strategy = Averagely
			default:
				return fmt.Errorf("must be %s or %s (or their Java class names), not %q", ConsistentHash, Averagely, v)
			}
			return nil
		},
		get: func(w *Worker) string { return w.Strategy },
	}
}
