package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The folders of jars below lib/, and the versions in them.
const (
	Kafka        = "kafka-" + kafkaVersion
	KafkaLogging = "slf4j-simple-" + slf4jVersion
	MirrorMaker  = "kafka-mirrormaker-" + kafkaVersion
	Proxy        = "rocketmq-proxy-" + RocketMQ5
	kafkaVersion = "3.9.1"
	slf4jVersion = "1.7.36"
)

// The versions of RocketMQ, one of each line.
const (
	RocketMQ5 = "5.3.3"
	RocketMQ4 = "4.9.7"
)

// RocketMQ is the folder of a version's jars below lib/.
func RocketMQ(version string) string { return "rocketmq-" + version }

// RocketMQ fetches the name server, the broker and mqadmin of a version.
func (f Fetcher) RocketMQ(ctx context.Context, version string) error {
	return f.jars(ctx, RocketMQ(version), []string{
		"org.apache.rocketmq:rocketmq-namesrv:" + version,
		"org.apache.rocketmq:rocketmq-broker:" + version,
		"org.apache.rocketmq:rocketmq-tools:" + version,
	})
}

// Proxy fetches what RocketMQ's proxy needs besides the jars of the broker, which are there.
func (f Fetcher) Proxy(ctx context.Context) error {
	beside, err := os.ReadDir(f.Layout.Lib(RocketMQ(RocketMQ5)))
	if err != nil {
		return fmt.Errorf("listing the jars of the broker: %w", err)
	}
	return f.jars(ctx, Proxy, []string{"org.apache.rocketmq:rocketmq-proxy:" + RocketMQ5}, beside...)
}

// Kafka fetches the Kafka server, and the backend without which it logs nothing.
func (f Fetcher) Kafka(ctx context.Context) error {
	if err := f.jars(ctx, KafkaLogging, []string{"org.slf4j:slf4j-simple:" + slf4jVersion}); err != nil {
		return err
	}
	return f.jars(ctx, Kafka, []string{"org.apache.kafka:kafka_2.13:" + kafkaVersion})
}

// MirrorMaker fetches Kafka Connect's runtime with MirrorMaker 2 in it, and returns the class path.
func (f Fetcher) MirrorMaker(ctx context.Context) (string, error) {
	if err := f.packages(ctx, brokerTools); err != nil {
		return "", err
	}
	if err := f.jars(ctx, KafkaLogging, []string{"org.slf4j:slf4j-simple:" + slf4jVersion}); err != nil {
		return "", err
	}
	err := f.jars(
		ctx,
		MirrorMaker,
		[]string{"org.apache.kafka:connect-mirror:" + kafkaVersion, "org.apache.kafka:connect-runtime:" + kafkaVersion},
	)
	return f.Layout.Lib(MirrorMaker) + "/*:" + f.Layout.Lib(KafkaLogging) + "/*", err
}

// jars gets the artifacts and all that they need to run from Maven Central into lib/NAME, without what there is beside
// it.
func (f Fetcher) jars(ctx context.Context, name string, artifacts []string, beside ...os.DirEntry) error {
	dir := f.Layout.Lib(name)
	return f.ensure(ctx, product{
		name: name, inputs: artifacts, files: []string{dir},
		what: "fetching the jars from Maven Central",
		make: func(ctx context.Context) error {
			build, partial := f.Layout.Build(name), dir+".partial"
			if err := errors.Join(os.RemoveAll(partial), os.RemoveAll(dir)); err != nil {
				return err
			}
			pom := filepath.Join(build, "pom.xml")
			if err := writeFile(pom, pomOf(name, artifacts)); err != nil {
				return err
			}
			err := f.command(build, "mvn.log", "mvn", "-q", "-B", "-f", pom, "dependency:copy-dependencies",
				"-DoutputDirectory="+partial, "-DincludeScope=runtime").Run(ctx)
			if err != nil {
				return err
			}
			for _, jar := range beside {
				if err := os.RemoveAll(filepath.Join(partial, jar.Name())); err != nil {
					return err
				}
			}
			if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
				return err
			}
			return os.Rename(partial, dir)
		},
	})
}

// pomOf is a Maven project that depends on the artifacts, each group:name:version.
func pomOf(name string, artifacts []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId>
  <artifactId>%s</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
`, name)
	for _, a := range artifacts {
		p := strings.Split(a, ":")
		fmt.Fprintf(&b, "    <dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n",
			p[0], p[1], p[2])
	}
	b.WriteString("  </dependencies>\n</project>\n")
	return b.String()
}
