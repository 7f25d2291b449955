package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// maxName is RocketMQ's limit for names of topics (127), less room for what is put in front of or after them.
const maxName = 120

// Validate reports everything that is wrong, in one joined error; each part names its key and what to do.
func (w Worker) Validate() error {
	return errors.Join(
		w.validateAddresses(),
		w.validateNames(),
		w.validateCredentials(),
		w.validateTLS(),
		w.validateSecrets(),
		w.validateTimes(),
		oneOf("restCompat", w.RESTCompat, CompatOld, CompatNew),
		oneOf("allocTaskStrategy", w.Strategy, ConsistentHash, Averagely),
		oneOf("logLevel", w.LogLevel, "debug", "info", "warn", "error"),
		oneOf("logFormat", w.LogFormat, "json", "console"),
		check(w.VirtualNode >= 1 && w.VirtualNode <= 10000, "virtualNode must be from 1 to 10000, not %d", w.VirtualNode),
		check(w.MaxLoadFactor == 0 || w.MaxLoadFactor >= 1 && w.MaxLoadFactor <= 100,
			"maxLoadFactor must be 0 (no bound), or from 1 to 100, not %v", w.MaxLoadFactor),
		check(w.StoreDir != "", "storePathRootDir is required: a folder of this worker's own on local storage"),
	)
}

func (w Worker) validateAddresses() error {
	errs := []error{
		check(len(w.NamesrvAddrs) > 0, "namesrvAddr is required: host:port of RocketMQ's name servers, separated by ;"),
		check(w.HTTPPort >= 1 && w.HTTPPort <= 65535, "httpPort must be from 1 to 65535, not %d", w.HTTPPort),
	}
	errs = append(errs, w.validateLimits(), w.validateHTTPTLS())
	for _, addr := range w.NamesrvAddrs {
		errs = append(errs, hostPort("namesrvAddr", addr))
	}
	for _, name := range w.HTTPHostNames {
		errs = append(errs, hostName("httpHostNames", name))
	}
	if w.AdvertisedAddress != "" {
		errs = append(errs, hostPort("advertisedAddress", w.AdvertisedAddress))
	}
	return errors.Join(errs...)
}

func (w Worker) validateLimits() error {
	return errors.Join(
		check(w.ProbePort >= 0 && w.ProbePort <= 65535, "probePort must be from 1 to 65535, or 0 for httpPort, not %d", w.ProbePort),
		check(w.ProbePort != w.HTTPPort, "probePort must not be httpPort (%d): leave it out to have probes there", w.HTTPPort),
		check(w.HTTPConnections >= 8 && w.HTTPConnections <= 65535, "httpConnections must be from 8 to 65535, not %d", w.HTTPConnections),
		check(w.HTTPConnectionsPerAddress >= 4 && w.HTTPConnectionsPerAddress <= w.HTTPConnections,
			"httpConnectionsPerAddress must be from 4 to httpConnections (%d), not %d", w.HTTPConnections, w.HTTPConnectionsPerAddress),
		// The rest is left for calls: streams hold their connections for as long as they go on.
		check(w.HTTPStreams >= 1 && w.HTTPStreams < w.HTTPConnections,
			"httpStreams must be at least 1 and less than httpConnections (%d), not %d", w.HTTPConnections, w.HTTPStreams),
		check(
			w.HTTPStreamsPerAddress >= 1 && w.HTTPStreamsPerAddress < w.HTTPConnectionsPerAddress,
			"httpStreamsPerAddress must be at least 1 and less than httpConnectionsPerAddress (%d), not %d",
			w.HTTPConnectionsPerAddress,
			w.HTTPStreamsPerAddress,
		),
	)
}

func (w Worker) validateHTTPTLS() error {
	return errors.Join(
		check(
			w.HTTPTLSCert != "" || w.HTTPTLSKey == "",
			"httpTlsCert is required with httpTlsKey: the file with the certificate of that key, in PEM",
		),
		check(
			w.HTTPTLSKey != "" || w.HTTPTLSCert == "",
			"httpTlsKey is required with httpTlsCert: the file with the certificate's private key, in PEM",
		),
		check(w.HTTPTLSClientCA == "" || w.HTTPTLSCert != "",
			"httpTlsCert and httpTlsKey are required with httpTlsClientCA: callers show their certificates over TLS only"),
	)
}

func (w Worker) validateNames() error {
	errs := []error{Name("connectClusterId", w.ClusterID)}
	topics := map[string]string{}
	for _, t := range []struct{ key, name string }{
		{"clusterStoreTopic", w.Topics.Cluster}, {"configStoreTopic", w.Topics.Config}, {"positionStoreTopic", w.Topics.Position},
		{"offsetStoreTopic", w.Topics.Offset}, {"statusStoreTopic", w.Topics.Status},
	} {
		if other := topics[t.name]; other != "" {
			errs = append(errs, fmt.Errorf("%s and %s must not be the same topic (%s)", other, t.key, t.name))
		}
		topics[t.name] = t.key
		errs = append(errs, Name(t.key, t.name))
	}
	if w.WorkerID != "" {
		bad := strings.ContainsFunc(w.WorkerID, func(r rune) bool { return r <= ' ' || r == 0x7f })
		errs = append(errs, check(!bad && len(w.WorkerID) <= 255, "workerId must have no white space and at most 255 bytes, not %q", w.WorkerID))
	}
	return errors.Join(errs...)
}

func (w Worker) validateCredentials() error {
	if !w.ACLEnable {
		return check(w.CredentialsDir == "", "credentialsDir has no effect without aclEnable=true: set that, or leave out credentialsDir")
	}
	if w.CredentialsDir != "" {
		return check(w.AccessKey == "" && w.SecretKey == "",
			"accessKey and secretKey must not be set beside credentialsDir: keep one of the two")
	}
	return errors.Join(
		check(
			w.AccessKey != "",
			"accessKey is required with aclEnable=true (or credentialsDir, a folder with the files accessKey and secretKey)",
		),
		check(w.SecretKey != "", "secretKey is required with aclEnable=true (or credentialsDir)"),
	)
}

// validateTLS does not look into the files: they are read where they are used.
func (w Worker) validateTLS() error {
	var errs []error
	for _, k := range []struct{ key, value string }{
		{"tlsCA", w.TLSCA}, {"tlsCert", w.TLSCert}, {"tlsKey", w.TLSKey}, {"tlsServerName", w.TLSServerName},
	} {
		errs = append(errs, check(w.TLSEnable || k.value == "", "%s has no effect without tlsEnable=true: set that, or leave out %[1]s", k.key))
	}
	if w.TLSServerName != "" {
		bad := strings.ContainsFunc(w.TLSServerName, func(r rune) bool { return r <= ' ' || strings.ContainsRune("*/,@", r) })
		_, _, port := net.SplitHostPort(w.TLSServerName)
		errs = append(
			errs,
			check(
				!bad && port != nil,
				"tlsServerName must be one host name without port, such as rocketmq.example.com, not %q",
				clip(w.TLSServerName),
			),
		)
	}
	return errors.Join(append(errs,
		check(w.TLSCert == "" || w.TLSKey != "", "tlsKey is required with tlsCert: the file with its key"),
		check(w.TLSKey == "" || w.TLSCert != "", "tlsCert is required with tlsKey: the file with its certificate"))...)
}

func (w Worker) validateSecrets() error {
	errs := []error{folder("secretsDir", w.SecretsDir), oneOf("config.secrets", w.ConfigSecrets, SecretsAny, SecretsReferenceOnly)}
	for _, dir := range w.SecretDirs {
		errs = append(errs, folder("secretDirs", dir))
	}
	for _, name := range w.SecretEnv {
		errs = append(errs, check(!strings.ContainsFunc(name, notOfVariable),
			"secretEnv must be names of variables, with letters, digits and _, not %q", clip(name)))
	}
	return errors.Join(errs...)
}

// folder refuses what would let connectors read all files that the worker can.
func folder(key, path string) error {
	path = filepath.Clean(path)
	return check(
		filepath.IsAbs(path) && filepath.Dir(path) != path,
		"%s must be the absolute path of a folder, and not that of all files, not %q",
		key,
		clip(path),
	)
}

func notOfVariable(r rune) bool {
	return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
}

func (w Worker) validateTimes() error {
	lease := w.SessionTimeout * 9 / 10
	return errors.Join(
		within("heartbeatInterval", w.HeartbeatInterval, 50*time.Millisecond, time.Minute),
		within("sessionTimeout", w.SessionTimeout, time.Second, 10*time.Minute),
		within("sendTimeout", w.SendTimeout, 100*time.Millisecond, time.Minute),
		within("rebalanceDelay", w.RebalanceDelay, 0, time.Hour),
		within("positionPersistInterval", w.FlushInterval, 10*time.Millisecond, 10*time.Minute),
		within("drainTimeout", w.DrainTimeout, time.Second, time.Hour),
		check(w.HeartbeatInterval*3 <= w.SessionTimeout,
			"heartbeatInterval (%s) must be at most a third of sessionTimeout (%s)", w.HeartbeatInterval, w.SessionTimeout),
		// Less would leave no time in which a batch may start: a lane starts one while now + sendTimeout < the lease's end.
		check(w.SendTimeout+2*w.HeartbeatInterval <= lease,
			"sendTimeout (%s) and two heartbeatIntervals (%s) must fit in 0.9 of sessionTimeout (%s): raise sessionTimeout or lower them",
			w.SendTimeout, w.HeartbeatInterval, w.SessionTimeout),
	)
}

// Name reports whether the name is one that RocketMQ takes for topics and groups: letters, digits, % | - and _; key
// says where it was set.
func Name(key, name string) error {
	if name == "" {
		return fmt.Errorf("%s must not be empty", key)
	}
	for _, r := range name {
		if !legal(r) {
			return fmt.Errorf("%s may only have letters, digits and %% | - _, so not the %q in %q", key, r, clip(name))
		}
	}
	return check(len(name) <= maxName, "%s must have at most %d characters, not %d", key, maxName, len(name))
}

func legal(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("%|-_", r)
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func oneOf(key, value string, allowed ...string) error {
	for _, a := range allowed {
		if a == value {
			return nil
		}
	}
	return fmt.Errorf("%s must be one of %s, not %q", key, strings.Join(allowed, ", "), value)
}

func within(key string, d, low, high time.Duration) error {
	return check(d >= low && d <= high, "%s must be from %s to %s, not %s", key, low, high, d)
}

// hostName reports whether the name is one of a host, as a Host header has it without its port; *.x is all below x.
func hostName(key, name string) error {
	host := strings.TrimPrefix(name, "*.")
	bad := strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || strings.ContainsRune("*:/,[]@", r) })
	return check(
		host != "" && !bad,
		"%s must be host names without port, such as connect.example.com or *.example.com, not %q",
		key,
		clip(name),
	)
}

func hostPort(key, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		if n, numErr := strconv.Atoi(port); host != "" && numErr == nil && n >= 1 && n <= 65535 {
			return nil
		}
	}
	return fmt.Errorf("%s must be host:port, not %q", key, clip(addr))
}
