// Command standalone runs Connector YAML as it is on one machine, against a RocketMQ that is there, or only checks it.
// See docs/try-it.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// The exit codes: exitInvalid is for documents, exitUsage for flags and files that cannot be read.
const (
	exitInvalid = 1
	exitFailed  = 1
	exitUsage   = 2
)

const usage = `usage: standalone -name-server HOST:PORT[;HOST:PORT] [-f] connector.yaml ...
       standalone -validate [-f] connector.yaml ...

Runs the Connectors of the files in this process until Ctrl-C, or only checks them. - is standard input.

`

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

type options struct {
	files       fileList
	validate    bool
	verbose     bool
	nameServers string
	clusterID   string
	store       string
	credentials string
	tls         tlsOptions
}

type tlsOptions struct {
	enable                    bool
	ca, cert, key, serverName string
}

// fileList is a flag that may be given several times.
type fileList []string

// String is for the flag package.
func (l *fileList) String() string { return strings.Join(*l, ",") }

// Set adds a file.
func (l *fileList) Set(file string) error {
	*l = append(*l, file)
	return nil
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("standalone", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		flags.PrintDefaults()
	}
	flags.Var(&o.files, "f", "a `file` with Connectors; several documents and several -f may be given, - is standard input")
	flags.BoolVar(
		&o.validate,
		"validate",
		false,
		"only check the files: by the schema and rules of the resource, and by the connector's class",
	)
	flags.BoolVar(&o.verbose, "v", false, "show the worker's log, not only its errors")
	flags.StringVar(&o.nameServers, "name-server", "", "RocketMQ's name servers, `host:port`, separated by ;")
	flags.StringVar(
		&o.clusterID,
		"cluster-id",
		"standalone",
		"the `id` of the cluster that this worker makes up: positions and offsets are kept under it",
	)
	flags.StringVar(&o.store, "store", "", "a `folder` for the worker's files; empty: a temporary one")
	flags.StringVar(&o.credentials, "credentials", "", "a `folder` with the files accessKey and secretKey for RocketMQ")
	flags.BoolVar(&o.tls.enable, "tls", false, "speak TLS with RocketMQ")
	flags.StringVar(
		&o.tls.ca,
		"tls-ca",
		"",
		"a PEM `file` with the certificates that must have signed RocketMQ's ones; empty: the system's roots",
	)
	flags.StringVar(&o.tls.cert, "tls-cert", "", "a PEM `file` with the certificate to show to RocketMQ")
	flags.StringVar(&o.tls.key, "tls-key", "", "a PEM `file` with the key of -tls-cert")
	flags.StringVar(
		&o.tls.serverName,
		"tls-server-name",
		"",
		"the `name` that RocketMQ's certificates must have; empty: the host that is dialled",
	)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.files = append(o.files, flags.Args()...)
	stdins := 0
	for _, f := range o.files {
		if f == stdinName {
			stdins++
		}
	}
	switch {
	case len(o.files) == 0:
		return o, errors.New("name a file with -f")
	case stdins > 1:
		return o, errors.New("standard input can be read only once")
	case !o.validate && o.nameServers == "":
		return o, errors.New("name RocketMQ's name servers with -name-server, or check only with -validate")
	}
	return o, nil
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseFlags(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return complain(stderr, err, exitUsage)
	}
	docs, broken, err := readAll(o.files, stdin)
	if err != nil {
		return complain(stderr, err, exitUsage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends the process
	found, err := checkAll(ctx, docs, broken)
	if err != nil {
		return complain(stderr, err, exitFailed)
	}
	for _, n := range found.notes {
		_, _ = fmt.Fprintln(stderr, "note:", n)
	}
	for _, e := range found.errors {
		_, _ = fmt.Fprintln(stderr, e)
	}
	switch {
	case len(found.errors) > 0:
		_, _ = fmt.Fprintf(stderr, "%d of %d documents are invalid\n", found.invalid(), found.checked)
		return exitInvalid
	case found.checked == 0:
		return complain(stderr, errors.New("there is no Connector in the files"), exitInvalid)
	case o.validate:
		_, _ = fmt.Fprintf(stdout, "%d documents are valid\n", found.checked)
		return 0
	}
	return serve(ctx, o, found, stdout, stderr)
}

// invalid counts the documents with errors.
func (r report) invalid() int {
	at := map[place]bool{}
	for _, e := range r.errors {
		at[e.at] = true
	}
	return len(at)
}

func serve(ctx context.Context, o options, found report, stdout, stderr io.Writer) int {
	wanted, err := oneEach(found.connectors)
	if err != nil {
		return complain(stderr, err, exitInvalid)
	}
	r, err := newRunner(ctx, o, wanted, stdout)
	if err != nil {
		return complain(stderr, err, exitUsage)
	}
	if err := errors.Join(r.run(ctx), r.close()); err != nil {
		return complain(stderr, err, exitFailed)
	}
	return 0
}

func complain(stderr io.Writer, err error, code int) int {
	_, _ = fmt.Fprintln(stderr, "standalone:", err)
	return code
}
