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
	RocketMQ   = "rocketmq-broker"
	Kafka      = "kafka"
)

// startLimit is how long a JVM may take on a machine that builds Kubernetes at the same time.
const startLimit = 3 * time.Minute

// stopLimit is how long a broker may take to write down what it has.
const stopLimit = 20 * time.Second

// Set is the brokers of one instance.
type Set struct {
	Layout  layout.Layout
	Ports   layout.Ports
	Daemons daemon.Folder
	Report  *step.Reporter
	// Pods says that pods use the brokers too: they are then advertised on the bridge's address, which must be there.
	Pods bool
	// Version is RocketMQ's; ACL has it check signatures.
	Version string
	ACL     bool
}

// advertised is the address that RocketMQ's clients get; the host reaches the bridge's address too.
func (s Set) advertised() string {
	if s.Pods {
		return layout.BridgeIP
	}
	return layout.Loopback
}

// nameServerHost is the address that the name server listens on: pods come by the bridge's address, programs on the host by
// the loopback address.
func (s Set) nameServerHost() string {
	if s.Pods {
		return "0.0.0.0"
	}
	return layout.Loopback
}

// StartRocketMQ starts the name server, then the broker, and returns when the broker is registered.
func (s Set) StartRocketMQ(ctx context.Context) error {
	home := s.Layout.State("rocketmq")
	namesrv, broker := filepath.Join(home, "namesrv.conf"), filepath.Join(home, "broker.conf")
	err := errors.Join(writeFile(namesrv, s.nameServerConf()), writeFile(broker, s.brokerConf(s.store(home))))
	if err != nil {
		return err
	}
	files := map[string][]string{NameServer: {namesrv}, RocketMQ: {broker}}
	for _, f := range s.homeFiles() {
		path := filepath.Join(home, filepath.FromSlash(f.path))
		if err := writeFile(path, f.content); err != nil {
			return err
		}
		files[f.reader] = append(files[f.reader], path)
	}
	booted := func(name string) func(context.Context) error {
		return func(context.Context) error { return contains(s.Daemons.Log(name), "boot success") }
	}
	err = s.start(ctx, jvm{
		name: NameServer, libs: []string{fetch.RocketMQ(s.Version)}, home: filepath.Join(home, "namesrv"), heap: "-Xms128m -Xmx256m", flags: rocketmqFlags,
		main: "org.apache.rocketmq.namesrv.NamesrvStartup", args: []string{"-c", namesrv}, files: files[NameServer], ready: booted(NameServer),
	})
	if err != nil {
		return err
	}
	return s.start(ctx, jvm{
		name: RocketMQ, libs: []string{fetch.RocketMQ(s.Version)}, home: filepath.Join(home, "broker"), heap: "-Xms512m -Xmx1g", flags: rocketmqFlags,
		main: "org.apache.rocketmq.broker.BrokerStartup", args: []string{"-c", broker}, files: files[RocketMQ],
		ready: func(ctx context.Context) error {
			if err := booted(RocketMQ)(ctx); err != nil {
				return err
			}
			return registered(ctx, layout.Address(layout.Loopback, s.Ports.NameServer), brokerName)
		},
	})
}

// StartKafka formats the log folder the first time, starts Kafka, and returns when it takes connections.
func (s Set) StartKafka(ctx context.Context) error {
	home := s.Layout.State("kafka")
	conf, data := filepath.Join(home, "server.properties"), filepath.Join(home, "data")
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

func (s Set) formatKafka(ctx context.Context, home, conf string) error {
	id, err := kafkaClusterID()
	if err != nil {
		return err
	}
	return step.Command{Dir: home, Log: filepath.Join(home, "format.log"), Args: []string{"java", "-cp", s.classPath([]string{fetch.Kafka}),
		"kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", id, "-c", conf}}.Run(ctx)
}

// Names lists the processes.
func (s Set) Names() []string { return []string{RocketMQ, NameServer, Kafka} }

// PortsOf lists the ports that a process takes.
func (s Set) PortsOf(name string) []daemon.Port {
	at := func(host string, port int) daemon.Port { return daemon.Port{Part: name, Host: host, Port: port} }
	switch name {
	case NameServer:
		return []daemon.Port{at(s.nameServerHost(), s.Ports.NameServer)}
	case RocketMQ:
		return []daemon.Port{at(s.advertised(), s.Ports.Broker), at(s.advertised(), s.Ports.Broker-2), at("", s.Ports.Broker+1)}
	case Kafka:
		ports := []daemon.Port{at(layout.Loopback, s.Ports.Kafka), at(layout.Loopback, s.Ports.KafkaController)}
		if s.Pods {
			ports = append(ports, at(layout.BridgeIP, s.Ports.KafkaPods))
		}
		return ports
	}
	return nil
}

// OwnLog is the file that a process writes its log to by itself, if it has one already; RocketMQ's processes have.
func (s Set) OwnLog(name string) string {
	folder := map[string]string{NameServer: "namesrv", RocketMQ: "broker"}[name]
	path := s.Layout.State("rocketmq", folder, "logs", "rocketmqlogs", folder+".log")
	if _, err := os.Stat(path); folder == "" || err != nil {
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
