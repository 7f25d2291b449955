package broker

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
)

func TestRegistered(t *testing.T) {
	cases := map[string]struct {
		answer  string // frame
		wantErr string
	}{
		"a broker that is shown":        {answer: frameOf(`{"brokerAddrTable":{"broker-a":{}}}`)},
		"a broker that is not there":    {answer: frameOf(`{"brokerAddrTable":{}}`), wantErr: "does not know broker-a"},
		"a server that says too little": {answer: frameOf("x")[:4], wantErr: "EOF"},
		"a server of another protocol":  {answer: "HTTP/1.1 400 Bad Request\r\n", wantErr: "it is none"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- serveOne(l, tc.answer) }()
			err = registered(t.Context(), l.Addr().String(), "broker-a")
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("got %v, want %q", err, tc.wantErr)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			l.Close()
			if err := registered(t.Context(), l.Addr().String(), "broker-a"); err == nil {
				t.Error("nobody listens, and the broker is registered")
			}
		})
	}
}

func frameOf(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

func serveOne(l net.Listener, answer string) error {
	c, err := l.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 8+len(clusterInfo))); err != nil {
		return err
	}
	_, err = io.WriteString(c, answer)
	return err
}
