package broker

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func TestReadiness(t *testing.T) {
	const (
		inSyncBoth = `{"replicasInfoTable":{"broker-a":{"masterAddress":"127.0.0.1:1","inSyncReplicas":[` +
			`{"alive":true,"brokerAddress":"127.0.0.1:1"},{"alive":true,"brokerAddress":"127.0.0.1:2"}]}}}`
		inSyncOne = `{"replicasInfoTable":{"broker-a":{"masterAddress":"127.0.0.1:1","inSyncReplicas":[` +
			`{"alive":true,"brokerAddress":"127.0.0.1:1"}]}}}`
		deadMaster = `{"replicasInfoTable":{"broker-a":{"masterAddress":"127.0.0.1:1","inSyncReplicas":[` +
			`{"alive":false,"brokerAddress":"127.0.0.1:1"},{"alive":true,"brokerAddress":"127.0.0.1:2"}]}}}`
	)
	registered := func(server string) error { return registered(t.Context(), nil, server, "broker-a", "127.0.0.1:2") }
	inSync := func(server string) error { return inSync(t.Context(), server, "broker-a", "127.0.0.1:2") }
	routes := func(server string) error { return routes(t.Context(), server) }
	cases := map[string]struct {
		ready   func(server string) error
		answer  string
		wantErr string
	}{
		"a broker that is shown": {ready: registered, answer: answerOf(`{"code":0}`, `{"brokerAddrs":{0:"127.0.0.1:2"}}`)},
		"a broker at another port": {
			ready:   registered,
			answer:  answerOf(`{"code":0}`, `{"brokerAddrs":{0:"127.0.0.1:22"}}`),
			wantErr: "does not know broker-a at 127.0.0.1:2",
		},
		"a broker that is not there": {
			ready:   registered,
			answer:  answerOf(`{"code":0}`, `{"brokerAddrs":{}}`),
			wantErr: "does not know broker-a",
		},
		"a server that says too little":   {ready: registered, answer: "\x00\x00\x00\x09", wantErr: "EOF"},
		"a server that says less":         {ready: registered, answer: "\x00\x00\x00\x02ab", wantErr: "it is none"},
		"a header longer than the answer": {ready: registered, answer: frameOf("\x00\x00\x00\x09x"), wantErr: "longer than itself"},
		"a header that is no JSON":        {ready: registered, answer: answerOf(`x`, ``), wantErr: "invalid character"},
		"a server of another protocol":    {ready: registered, answer: "HTTP/1.1 400 Bad Request\r\n", wantErr: "it is none"},
		"both replicas in sync":           {ready: inSync, answer: answerOf(`{"code":0}`, inSyncBoth)},
		"a replica that is behind":        {ready: inSync, answer: answerOf(`{"code":0}`, inSyncOne), wantErr: "127.0.0.1:2 is not in sync"},
		"a master that is dead":           {ready: inSync, answer: answerOf(`{"code":0}`, deadMaster), wantErr: "no living master"},
		"a controller without brokers": {
			ready:   inSync,
			answer:  answerOf(`{"code":0}`, `{"replicasInfoTable":{}}`),
			wantErr: "no living master",
		},
		"a controller that cannot say": {
			ready:   inSync,
			answer:  answerOf(`{"code":2007,"remark":"not leader"}`, ``),
			wantErr: "code 2007: not leader",
		},
		"a controller that says no JSON": {ready: inSync, answer: answerOf(`{"code":0}`, `x`), wantErr: "reading the controller's answer"},
		"a proxy that has a route":       {ready: routes, answer: answerOf(`{"code":0}`, `{}`)},
		"a proxy that has none yet":      {ready: routes, answer: answerOf(`{"code":17,"remark":"no route"}`, ``), wantErr: "code 17: no route"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- serveOne(l, tc.answer) }()
			err = tc.ready(l.Addr().String())
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("got %v, want %q", err, tc.wantErr)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			l.Close()
			if err := tc.ready(l.Addr().String()); err == nil {
				t.Error("nobody listens, and all is ready")
			}
		})
	}
}

func frameOf(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

func answerOf(header, body string) string { return frameOf(frameOf(header) + body) }

// serveOne reads one whole request and gives the answer.
func serveOne(l net.Listener, answer string) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	var size uint32
	if err := binary.Read(c, binary.BigEndian, &size); err != nil {
		return err
	}
	request := make([]byte, size)
	if _, err := io.ReadFull(c, request); err != nil {
		return err
	}
	if header := int(binary.BigEndian.Uint32(request)); 4+header > len(request) || !strings.Contains(string(request[4:4+header]), `"code":`) {
		return errors.New("the request's header does not fit its size")
	}
	_, err = io.WriteString(c, answer)
	return err
}
