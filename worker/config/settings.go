package config

// Setting describes one key of connect.conf for documents.
type Setting struct {
	Name    string
	Aliases []string
	// Form is what values look like; Default is the value of an empty file, "" for none.
	Form, Default string
	// Secret values are never shown.
	Secret bool
	// Doc says what the key is for.
	Doc string
}

// Settings returns every key that a worker understands, in the order in which they are shown.
func Settings() []Setting {
	w, docs := Default(), keyDocs()
	var out []Setting
	for _, k := range keys() {
		out = append(out, Setting{Name: k.name, Aliases: k.aliases, Form: k.form, Default: k.get(&w), Secret: k.secret, Doc: docs[k.name]})
	}
	return out
}

func keyDocs() map[string]string {
	return map[string]string{
		"workerId": "Unique among the live workers of a cluster, the same after a restart. Empty: `<ip>@<httpPort>`. At " +
			"most 255 bytes, no white space.",
		"connectClusterId": "Name of the cluster. Sinks mark what they write with it, sources skip what carries their own. It does " +
			"not keep clusters apart: the five topics do, and workers with another id are refused on them.",
		"namesrvAddr": "RocketMQ name servers, `host:port`. Required, here or in `NAMESRV_ADDR`.",
		"httpHost": "Address that the REST API, the probes and the metrics listen on. Empty: all, but without `restTokenFile` the " +
			"API answers callers on this machine only. " +
			"Named, such as `0.0.0.0`, it lets in everybody who reaches the port: for networks that you trust.",
		"httpPort": "Port of the REST API, and of the probes and the metrics unless `probePort` is set.",
		"probePort": "Port of their own for `/healthz`, `/readyz` and `/metrics`, which `httpPort` does not answer " +
			"then, so that no caller of the API keeps probes waiting. 0: `httpPort`.",
		"httpConnections": "Most connections to `httpPort`. When it is reached, idle ones of the address that holds most make room.",
		"httpConnectionsPerAddress": "Most connections of one address (of IPv6: of one /64 network) to `httpPort`. When it is " +
			"reached, its longest idle one makes room; if none is idle, new ones are closed. Raise it for a proxy that all callers come through.",
		"httpStreams":           "Most watch streams; less than `httpConnections`.",
		"httpStreamsPerAddress": "Most watch streams of one address; less than `httpConnectionsPerAddress`.",
		"httpHostNames": "Further host names by which the REST API may be called, such as a proxy's; `*.example.com` is all below " +
			"it. Addresses, `localhost`, the host's name and " +
			"`advertisedAddress` are right without it. Others are refused, so that no web page reaches the worker by a name of its own.",
		"httpTlsCert": "File with the certificate of the REST API, and those between it and its authority, in PEM. With it and " +
			"`httpTlsKey`, `httpPort` speaks TLS 1.2 or newer, and HTTP/1.1 over it. " +
			"The files are read again within 5 s of a change; while they cannot be used, the last ones are, and the log and `/readyz` " +
			"say so. `probePort` stays plain: set it where probes cannot speak TLS.",
		"httpTlsKey": "File with the certificate's private key, in PEM.",
		"httpTlsClientCA": "File with the authorities, in PEM, of the certificates that every caller of `httpPort` must show " +
			"(mutual TLS), besides its token. Empty: callers show none. " +
			"Who has a certificate of another authority gets no connection; who has a connection gets 403 once its certificate has " +
			"ended, or its authority is not in the file any more, and its watch streams end.",
		"advertisedAddress": "`host:port` under which others reach this worker's REST API; shown in `/api/v1/cluster`. Empty: " +
			"`<ip>:<httpPort>`, the ip being " +
			"the one that speaks to the name server.",
		"storePathRootDir": "This worker's own folder on a local disk: lock file and copies of configs, positions and offsets. Two " +
			"workers never share it.",
		"pluginPaths": "No effect in this version: only built-in connectors run. A value is logged and ignored.",
		"secretsDir": "Folder of the secrets that `${secret:name:key}` in a connector's config refers to: " +
			"`<secretsDir>/<name>/<key>`. See [secrets.md](secrets.md). `${file:…}` and `${dir:…}` may read in it, too.",
		"secretDirs": "Further folders in which `${file:path:key}` and `${dir:path:file}` may read, and below them.",
		"secretEnv":  "Variables of the worker's environment that `${env:NAME}` may read. Empty: none.",
		"config.secrets": "`any`: secrets may stand in connectors' configs, with a warning. `reference-only`: a value for a secret " +
			"key that is no reference is refused (422), and a connector that was stored " +
			"with one fails.",
		"aclEnable":     "Sign requests to RocketMQ.",
		"accessKey":     "Access key, with `aclEnable=true`.",
		"secretKey":     "Secret key, with `aclEnable=true`.",
		"securityToken": "Security token of temporary credentials.",
		"credentialsDir": "Folder with the files `accessKey`, `secretKey` and, if needed, `securityToken`, instead of the " +
			"three keys, with aclEnable=true. When they change, the worker ends within 15 s so that it is started with the new ones.",
		"tlsEnable": "Speak TLS (1.2 or newer) with RocketMQ: name servers and brokers.",
		"tlsCA": "PEM file with the certificates that must have signed the servers' ones. Empty: the system's " +
			"roots. This file, `tlsCert` and `tlsKey` are read for each new connection, so renewed ones need no restart; while they " +
			"are of no use, those of before are used.",
		"tlsCert": "PEM file with the certificate that is shown to servers which ask for one. With `tlsKey`.",
		"tlsKey":  "PEM file with the key of `tlsCert`, without a password.",
		"tlsServerName": "Name that the servers' certificates must have. Empty: the host that is dialled, as " +
			"`namesrvAddr` and the brokers' `brokerIP1` have it.",
		"namespace":             "RocketMQ's namespace of all topics and groups.",
		"autoCreateGroupEnable": "Create the consumer groups in which sinks show their offsets.",
		"restTokenFile": "File with the bearer token (16 bytes at least) that callers of the REST API must send. Read " +
			"again within 5 s of a change; while it cannot be read, every caller gets 401 and the worker is not ready. Empty: no token " +
			"is asked for.",
		"restCompat":   "Shape of `getClusterInfo`: `old` is a bare list, `new` is `{\"status\":200,\"body\":[…]}`.",
		"compatRoutes": "Serve the older runtimes' routes, which change state by GET.",
		"allocTaskStrategy": "Which worker gets what. `ConsistentHash` moves only what has to move; `Averagely` deals " +
			"everything again at each change. The Java class names work too.",
		"virtualNode":       "Points of each worker on the ring of `ConsistentHash`; 1 to 10000.",
		"maxLoadFactor":     "A worker gets at most this many times the average; 0 is the plain ring, else 1 to 100.",
		"heartbeatInterval": "How often a worker says that it lives; 50 ms to 1 min, at most a third of `sessionTimeout`.",
		"sessionTimeout":    "A worker that is not heard of for so long loses its tasks; 1 s to 10 min.",
		"sendTimeout": "Longest time for one send to RocketMQ; 100 ms to 1 min. With two heartbeats it must fit in 0.9 " +
			"of `sessionTimeout`.",
		"rebalanceDelay": "How long the work of a worker that left waits for its return; 0 to 1 h.",
		"positionPersistInterval": "How often positions and offsets are stored; 10 ms to 10 min. A crash repeats at most what was " +
			"delivered since.",
		"drainTimeout": "How long a worker that was told to stop may take to hand its tasks over; 1 s to 1 h.",
		"clusterStoreTopic": "Topic of the cluster log. This and the next four say which workers are one cluster. Another " +
			"cluster needs five others: a worker that shares some of them with a running cluster, and not all, ends and says so.",
		"configStoreTopic":   "Topic of connector configs.",
		"positionStoreTopic": "Topic of sources' positions.",
		"offsetStoreTopic":   "Topic of sinks' offsets.",
		"statusStoreTopic":   "Topic of statuses.",
		"clusterTopicBroker": "Name of the broker that holds the five internal topics. A worker waits, not ready, while one of " +
			"them lies elsewhere. Empty: they stay where they are; the first is made on the first broker by name, the others beside it.",
		"logLevel":  "`debug`, `info`, `warn` or `error`.",
		"logFormat": "`json` or `console`. The log goes to standard error.",
	}
}
