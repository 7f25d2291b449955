//go:build linux

package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/broker"
)

func TestParse(t *testing.T) {
	cases := map[string]struct {
		args    string
		want    call
		wantErr string
	}{
		"no command shows the help": {args: "", want: call{verb: "help", only: parts}},
		"up takes all parts":        {args: "up", want: call{verb: "up", args: []string{}, only: parts}},
		"parts are chosen": {
			args: "up --only rocketmq,kafka",
			want: call{verb: "up", args: []string{}, only: []string{partRocketMQ, partKafka}},
		},
		"flags may come ahead of the command": {
			args: "--port-base 20000 down",
			want: call{verb: "down", args: []string{}, only: parts, base: 20000},
		},
		"flags may follow an argument": {
			args: "logs kafka -f",
			want: call{verb: "logs", args: []string{"kafka"}, only: parts, follow: true},
		},
		"images are many": {
			args: "load-image a.tar b.tar",
			want: call{verb: "load-image", args: []string{"a.tar", "b.tar"}, only: parts},
		},
		"the output folder is chosen": {
			args: "image --out /x",
			want: call{verb: "image", args: []string{}, only: parts, outDir: "/x"},
		},
		"the older RocketMQ with access control": {
			args: "up --rocketmq 4.9.7 --acl",
			want: call{verb: "up", args: []string{}, only: parts, rocketmq: "4.9.7", acl: true},
		},
		"a topology with its option": {
			args: "up --topology replicated --sync",
			want: call{verb: "up", args: []string{}, only: parts, topology: "replicated", sync: true},
		},
		"single processes are wiped": {
			args: "stop rocketmq-broker-a kafka --wipe",
			want: call{verb: "stop", args: []string{"rocketmq-broker-a", "kafka"}, only: parts, wipe: true},
		},
		"an unknown topology is named": {
			args:    "up --topology cluster",
			wantErr: "cluster: the topologies are single, masters, replicated, controller, proxy",
		},
		"TLS has two modes":                    {args: "up --tls mutual", want: call{verb: "up", args: []string{}, only: parts, tls: "mutual"}},
		"an unknown mode of TLS is named":      {args: "up --tls enforcing", wantErr: "enforcing: the modes are server, mutual, permissive"},
		"start wants a name":                   {args: "start", wantErr: "start needs an argument"},
		"an unknown version is named":          {args: "up --rocketmq 4.8.0", wantErr: "4.8.0: the versions are 5.3.3 and 4.9.7"},
		"an unknown part is named":             {args: "up --only mysql", wantErr: `"mysql" is none of`},
		"an unknown command is named":          {args: "restart", wantErr: `unknown command "restart"`},
		"an unknown flag is named":             {args: "up --fast", wantErr: "-fast"},
		"logs wants a name":                    {args: "logs", wantErr: "logs needs an argument"},
		"a left-over argument is named":        {args: "down now", wantErr: `unexpected argument "now"`},
		"a port base that is no number is bad": {args: "up --port-base x", wantErr: "port-base"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.want.outDir == "" {
				tc.want.outDir = "dist"
			}
			if tc.want.rocketmq == "" {
				tc.want.rocketmq = "5.3.3"
			}
			got, err := parse(strings.Fields(tc.args))
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("parse(%q) fails with %v, want %q", tc.args, err, tc.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.verb == "help" {
				got.outDir, got.args, got.rocketmq = "dist", nil, "5.3.3"
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("parse(%q) = %+v, want %+v", tc.args, got, tc.want)
			}
		})
	}
}

func TestQuoteSurvivesAShell(t *testing.T) {
	if got, want := quote("/it's here"), `'/it'\''s here'`; got != want {
		t.Errorf("quote gives %s, want %s", got, want)
	}
}

func TestEveryCommandCanBeCalled(t *testing.T) {
	s, _ := testStack(t, broker.Options{})
	commands := s.commands(t.Context(), call{})
	for verb := range operands {
		if commands[verb] == nil && verb != "help" {
			t.Errorf("%s is taken and does nothing", verb)
		}
		if !strings.Contains(usage, "\n  "+verb+" ") && verb != "help" {
			t.Errorf("the help does not list %s", verb)
		}
	}
	for _, topology := range broker.Topologies {
		if !strings.Contains(usage, " "+topology+" ") {
			t.Errorf("the help does not list the topology %s", topology)
		}
	}
}
