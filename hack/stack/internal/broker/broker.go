// Package broker runs the real RocketMQ and Kafka of the local stack.
package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/daemon"
	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// The names of the processes.
const (
	NameServer = "rocketmq-namesrv"
	RocketMQ   = "rocketmq-broker" // the only broker; several are named after their folders
	Kafka      = "kafka"
)

// startLimit is how long a JVM may take on a machine that builds Kubernetes at the same time.
const startLimit = 3 * time.Minute

// stopLimit is how long a broker may take to write down what it has.
const stopLimit = 20 * time.Second

// Set is the brokers of one instance. One value holds them all: a failover, a name server and each broker are files and
// processes of the same folder, and its methods are the commands of the stack, one each.
type Set struct {
	Layout  layout.Layout
	Ports   layout.Ports
	Daemons daemon.Folder
	Report  *step.Reporter
	Options
}

// advertised is the address that RocketMQ's clients get; the host reaches the bridge's address too.
func (s Set) advertised() string {
	if s.Pods {
		return layout.BridgeIP
	}
	return layout.Loopback
}

// nameServerHost is the address that the name server listens on: pods come by the bridge's address, programs on the
// host by the loopback address.
func (s Set) nameServerHost() string {
	if s.Pods {
		return "0.0.0.0"
	}
	return layout.Loopback
}

// home is the folder of all of RocketMQ's processes.
func (s Set) home(elem ...string) string {
	return s.Layout.State(append([]string{"rocketmq"}, elem...)...)
}

// StartRocketMQ starts the name servers, then what registers with them, and returns when all of it is ready.
func (s Set) StartRocketMQ(ctx context.Context) error {
	if err := s.ensureTLS(); err != nil {
		return err
	}
	return s.startNodes(ctx, s.nodes())
}

func (s Set) startNodes(ctx context.Context, nodes []node) error {
	for wave := range lastWave + 1 {
		var work []func(context.Context) error
		for _, n := range nodes {
			if n.wave == wave {
				work = append(work, func(ctx context.Context) error { return s.startNode(ctx, n) })
			}
		}
		if err := step.All(ctx, work...); err != nil {
			return err
		}
	}
	return nil
}

func (s Set) startNode(ctx context.Context, n node) error {
	home, conf := s.home(n.folder), s.home(n.folder+n.extension)
	if err := writeFile(conf, s.conf(n)); err != nil {
		return err
	}
	files := []string{conf}
	if s.TLS != "" {
		files = append(files, s.TLSFile("tls.properties"), s.TLSFile("server.pem"))
	}
	for _, f := range s.homeFiles(n) {
		path := s.home(filepath.FromSlash(f.path))
		if err := writeFile(path, f.content); err != nil {
			return err
		}
		files = append(files, path)
	}
	libs := []string{fetch.RocketMQ(s.Version)}
	if n.program == proxyProgram {
		libs = append(libs, fetch.Proxy)
	}
	return s.start(ctx, jvm{
		name: n.name, libs: libs, home: home, heap: n.memory.heap, flags: append(rocketmqFlags(n.memory.direct), s.tlsFlags()...),
		main: n.main, args: []string{n.confFlag, conf}, files: files, ready: func(ctx context.Context) error { return s.ready(ctx, n) },
	})
}

// StartKafka formats the log folder the first time, starts Kafka, and returns when it takes connections.
func (s Set) StartKafka(ctx context.Context) error {
	home := s.Layout.State("kafka")
	conf, data := filepath.Join(home, "server.properties"), s.kafkaData()
	if err := writeFile(conf, s.kafkaConf(data)); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, "meta.properties")); errors.Is(err, os.ErrNotExist) {
		if err := s.formatKafka(ctx, home, conf); err != nil {
			return err
		}
	}
	return s.start(ctx, jvm{
		name: Kafka, libs: []string{fetch.Kafka, fetch.KafkaLogging}, home: home, heap: "-Xms512m -Xmx512m", flags: kafkaLogging,
		main: "kafka.Kafka", args: []string{conf}, files: []string{conf},
		ready: func(ctx context.Context) error { return dial(ctx, layout.Address(layout.Loopback, s.Ports.Kafka)) },
	})
}

func (s Set) kafkaData() string { return s.Layout.State("kafka", "data") }

func (s Set) formatKafka(ctx context.Context, home, conf string) error {
	id, err := kafkaClusterID()
	if err != nil {
		return err
	}
	return step.Command{Dir: home, Log: filepath.Join(home, "format.log"), Args: []string{"java", "-cp", s.classPath([]string{fetch.Kafka}),
		"kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", id, "-c", conf}}.Run(ctx)
}

// RocketMQNames lists the processes of RocketMQ.
func (s Set) RocketMQNames() []string {
	var names []string
	for _, n := range s.nodes() {
		names = append(names, n.name)
	}
	return names
}

// Names lists the processes.
func (s Set) Names() []string { return append(s.RocketMQNames(), Kafka) }

// PortsOf lists the ports that a process takes.
func (s Set) PortsOf(name string) []daemon.Port {
	at := func(host string, port int) daemon.Port { return daemon.Port{Part: name, Host: host, Port: port} }
	if name == Kafka {
		ports := []daemon.Port{at(layout.Loopback, s.Ports.Kafka), at(layout.Loopback, s.Ports.KafkaController)}
		if s.Pods {
			ports = append(ports, at(layout.BridgeIP, s.Ports.KafkaPods))
		}
		return ports
	}
	n, known := s.node(name)
	switch {
	case !known:
		return nil
	case n.program == brokerProgram:
		return []daemon.Port{at(s.advertised(), n.port), at(s.advertised(), n.port-2), at("", replicationPort(n))}
	case n.program == proxyProgram:
		return []daemon.Port{at("", n.port), at("", s.Ports.ProxyGRPC)}
	case s.hasController(n):
		return []daemon.Port{at(s.nameServerHost(), n.port), at("", s.Ports.Controller)}
	}
	return []daemon.Port{at(s.nameServerHost(), n.port)}
}

// OwnLog is the file that a process writes its log to by itself, if it has one already; RocketMQ's processes have.
func (s Set) OwnLog(name string) string {
	n, known := s.node(name)
	path := s.home(n.folder, "logs", "rocketmqlogs", n.short+".log")
	if _, err := os.Stat(path); !known || err != nil {
		return ""
	}
	return path
}

type jvm struct {
	name, home, heap, main   string
	libs, flags, args, files []string
	ready                    func(context.Context) error
}

func (s Set) start(ctx context.Context, j jvm) error {
	args := append(strings.Fields(j.heap), "-XX:+UseG1GC", "-Duser.home="+j.home)
	args = append(args, j.flags...)
	args = append(args, "-cp", s.classPath(j.libs), j.main)
	return s.Daemons.Up(ctx, daemon.Spec{Name: j.name, Path: "java", Args: append(args, j.args...), Env: []string{"ROCKETMQ_HOME=" + j.home},
		Files: j.files, Grace: stopLimit, Ports: s.PortsOf(j.name), Ready: j.ready, Limit: startLimit}, s.Report)
}

func (s Set) classPath(libs []string) string {
	var folders []string
	for _, lib := range libs {
		folders = append(folders, s.Layout.Lib(lib)+"/*")
	}
	return strings.Join(folders, ":")
}

func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return fmt.Errorf("writing a configuration: %w", err)
	}
	return nil
}

func contains(path, want string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), want) {
		return fmt.Errorf("%q is not in its output yet", want)
	}
	return nil
}

func dial(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return c.Close()
}
