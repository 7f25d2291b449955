package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

func open(t *testing.T, r Rewrite) (*Link, string) {
	t.Helper()
	l := NewLink()
	addr, err := l.Open(t.Context(), 0, echo(t), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l, addr
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
		t.Fatalf("received %q, %v; want %q", b, err, want)
	}
}

// silent says that nothing comes for a moment.
func silent(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("something came while the link was cut: %d bytes, %v", n, err)
	}
}

func TestACutLinkKeepsWhatWasSentUntilItHeals(t *testing.T) {
	cases := map[string]Mode{
		"both ways":                   {HoldUp: true, HoldDown: true},
		"from the client":             {HoldUp: true},
		"from the server":             {HoldDown: true},
		"cut, and slow once it heals": {HoldUp: true, Delay: time.Millisecond},
	}
	for name, mode := range cases {
		t.Run(name, func(t *testing.T) {
			l, addr := open(t, Rewrite{})
			c := dial(t, addr)
			send(t, c, "before")
			receive(t, c, "before")
			l.Set(mode)
			send(t, c, "during")
			silent(t, c)
			late := dial(t, addr)
			send(t, late, "late")
			silent(t, late)
			l.Set(Mode{Delay: mode.Delay})
			receive(t, c, "during")
			receive(t, late, "late")
		})
	}
}

func TestARefusingLinkResetsEverybody(t *testing.T) {
	l, addr := open(t, Rewrite{})
	c := dial(t, addr)
	send(t, c, "before")
	receive(t, c, "before")
	l.Set(Mode{Refuse: true})
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the open connection: got %v, want a reset", err)
	}
	if late, err := net.Dial("tcp", addr); err == nil { // else it was reset before the dialer looked
		_ = late.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := late.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a new connection: got %v, want a reset", err)
		}
		late.Close()
	}
	l.Set(Mode{})
	after := dial(t, addr)
	send(t, after, "after")
	receive(t, after, "after")
}

func TestAddressesInFramesAreRewritten(t *testing.T) {
	frame := func(text string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)))) + text
	}
	route, err := RouteTo(map[int]int{40011: 51234, 40016: 51238})
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		rewrite    Rewrite
		sent, want string
	}{
		"a name server's route": {route, `{"brokerAddrs":{0:"127.0.0.1:40011"}}`, `{"brokerAddrs":{0:"127.0.0.1:51234"}}`},
		"Kafka's metadata":      {KafkaAt(40020, 51235), "\x0a127.0.0.1\x00\x00\x9c\x54!", "\x0a127.0.0.1\x00\x00\xc8\x23!"},
		"a route of two masters": {route, `{"brokerAddrs":{0:"127.0.0.1:40011"}},{"brokerAddrs":{0:"127.0.0.1:40016"}}`,
			`{"brokerAddrs":{0:"127.0.0.1:51234"}},{"brokerAddrs":{0:"127.0.0.1:51238"}}`},
		"a replica that was elected": {route, `{"brokerAddrs":{0:"127.0.0.1:40016",2:"127.0.0.1:40011"}}`,
			`{"brokerAddrs":{0:"127.0.0.1:51238",2:"127.0.0.1:51234"}}`},
		"another port": {route, "127.0.0.1:40012", "127.0.0.1:40012"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, addr := open(t, tc.rewrite)
			c := dial(t, addr)
			whole := frame(tc.sent) + frame("next")
			send(t, c, whole[:9]) // frames come in pieces
			send(t, c, whole[9:])
			receive(t, c, frame(tc.want)+frame("next"))
		})
	}
	for name, ports := range map[string]map[int]int{
		"ports of different lengths": {40011: 5123}, "a port that is a broker's": {40011: 40016, 40016: 51234},
	} {
		if _, err := RouteTo(ports); err == nil {
			t.Errorf("%s are taken", name)
		}
	}
}
