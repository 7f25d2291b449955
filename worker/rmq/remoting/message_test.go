package remoting

import (
	"bytes"
	"compress/zlib"
	"errors"
	"strings"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

func stored() *Message {
	return &Message{
		QueueID: 3, Offset: 41, Born: 1700000000123, Stored: 1700000000456, Topic: []byte("orders"),
		Properties: AppendProperty(AppendProperty(nil, "KEYS", "k1"), "header", "välue"), Body: []byte("body"),
	}
}

// TestMessageLikeUpstream holds our decoder against the one of rocketmq-client-go.
func TestMessageLikeUpstream(t *testing.T) {
	wire := AppendStored(nil, stored())
	second := stored()
	second.Offset, second.Body, second.Properties = 42, []byte{0}, nil
	wire = AppendStored(wire, second)
	theirs := primitive.DecodeMessage(bytes.Clone(wire))
	for i, want := range theirs {
		m, rest, err := NextMessage(wire)
		if err != nil {
			t.Fatal(err)
		}
		wire = rest
		got := []any{m.QueueID, m.Offset, m.Born, m.Stored, string(m.Topic), string(m.Body)}
		if diff := cmp.Diff(
			[]any{want.Queue.QueueId, want.QueueOffset, want.BornTimestamp, want.StoreTimestamp, want.Topic, string(want.Body)},
			got,
		); diff != "" {
			t.Errorf("message %d (-upstream +ours):\n%s", i, diff)
		}
		if i == 0 && (want.GetProperty("KEYS") != "k1" || want.GetProperty("header") != "välue") {
			t.Errorf("upstream reads the properties %v", want.GetProperties())
		}
	}
	if len(theirs) != 2 || len(wire) > 0 {
		t.Errorf("upstream decoded %d messages, %d bytes left", len(theirs), len(wire))
	}
}

func TestCompressedBodies(t *testing.T) {
	plain := []byte(strings.Repeat("compress me ", 1000))
	cases := map[string]struct {
		flag     int
		compress func(*bytes.Buffer) error
	}{
		"zlib, by an old client": {sysCompressed, func(b *bytes.Buffer) error {
			w := zlib.NewWriter(b)
			if _, err := w.Write(plain); err != nil {
				return err
			}
			return w.Close()
		}},
		"lz4": {sysCompressed | compressionLZ4, func(b *bytes.Buffer) error {
			w := lz4.NewWriter(b)
			if _, err := w.Write(plain); err != nil {
				return err
			}
			return w.Close()
		}},
		"zstd": {sysCompressed | compressionZstd, func(b *bytes.Buffer) error {
			w, err := zstd.NewWriter(b)
			if err != nil {
				return err
			}
			if _, err := w.Write(plain); err != nil {
				return err
			}
			return w.Close()
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tc.compress(&b); err != nil {
				t.Fatal(err)
			}
			m := stored()
			m.SysFlag, m.Body = tc.flag, b.Bytes()
			got, _, err := NextMessage(AppendStored(nil, m))
			if err != nil {
				t.Fatal(err)
			}
			body, err := got.Plain()
			if err != nil || !bytes.Equal(body, plain) {
				t.Errorf("body of %d bytes, %v", len(body), err)
			}
			got.Body = got.Body[:len(got.Body)/2]
			if _, err := got.Plain(); !errors.Is(err, ErrMessage) {
				t.Errorf("half of it: %v", err)
			}
		})
	}
	m := Message{SysFlag: sysCompressed | 7<<8, Body: []byte("x")}
	if _, err := m.Plain(); !errors.Is(err, ErrMessage) {
		t.Errorf("unknown compression: %v", err)
	}
}

func TestBadMessages(t *testing.T) {
	good := AppendStored(nil, stored())
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	cases := map[string][]byte{
		"cut off":                      good[:len(good)-1],
		"size of nothing":              change(0, 0, 0, 0, 0),
		"negative size":                change(0, 255, 255, 255, 255),
		"another magic":                change(4, 1, 2, 3, 4),
		"body longer than the message": change(84, 0, 1, 0, 0),
		"inner batch":                  change(36, 0, 0, 0, sysInnerBatch),
	}
	for name, wire := range cases {
		t.Run(name, func(t *testing.T) {
			if m, _, err := NextMessage(wire); !errors.Is(err, ErrMessage) {
				t.Errorf("decoded %+v, %v", m, err)
			}
		})
	}
}

func TestSecondFormAndIPv6(t *testing.T) {
	wire := AppendStored(nil, stored())
	// Splice in two IPv6 hosts and a two-byte topic length, as a broker with a long topic name stores them.
	v6 := append([]byte{}, wire[:48]...)
	v6 = append(v6, make([]byte, 20)...)
	v6 = append(v6, wire[56:64]...)
	v6 = append(v6, make([]byte, 20)...)
	v6 = append(v6, wire[72:92]...)
	v6 = append(v6, 0)
	v6 = append(v6, wire[92:]...)
	v6[3], v6[7], v6[39] = byte(len(v6)), 0xAB, sysBornHostV6|sysStoreHostV6
	m, rest, err := NextMessage(v6)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes left, %v", len(rest), err)
	}
	if string(m.Topic) != "orders" || string(m.Body) != "body" || m.Stored != 1700000000456 {
		t.Errorf("decoded %+v", m)
	}
}

func TestMembers(t *testing.T) {
	var batch []byte
	for _, body := range []string{"a", "second"} {
		start := len(batch)
		batch = AppendProperty(OpenMember(batch, []byte(body)), "KEYS", body)
		if !CloseMember(batch, start, len(body)) {
			t.Fatal("refused")
		}
	}
	var got []string
	for rest := batch; len(rest) > 0; {
		var body, properties []byte
		var err error
		if body, properties, rest, err = Member(rest); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(body)+" "+string(properties))
	}
	if diff := cmp.Diff([]string{"a KEYS\x01a\x02", "second KEYS\x01second\x02"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	long := AppendProperty(OpenMember(nil, []byte("x")), "p", strings.Repeat("x", MaxProperties))
	if CloseMember(long, 0, 1) {
		t.Error("too long properties were taken")
	}
	if _, _, _, err := Member(batch[:10]); !errors.Is(err, ErrMessage) {
		t.Errorf("cut off: %v", err)
	}
}

func FuzzNextMessage(f *testing.F) {
	f.Add(AppendStored(AppendStored(nil, stored()), stored()))
	f.Add([]byte{0, 0, 0, 9, 0xDA, 0xA3, 0x20, 0xA7, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := NextMessage(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) || len(m.Body)+len(m.Properties)+len(m.Topic) > len(b) {
				t.Fatalf("%d bytes gave %+v and left %d", len(b), m, len(rest))
			}
			if m.SysFlag&sysCompressed == 0 && len(m.Topic) < 256 {
				again, _, err := NextMessage(AppendStored(nil, &m))
				if err != nil && m.SysFlag&(sysBornHostV6|sysStoreHostV6) == 0 {
					t.Fatalf("stored again: %v", err)
				}
				if err == nil && m.SysFlag&(sysBornHostV6|sysStoreHostV6) == 0 && !bytes.Equal(again.Body, m.Body) {
					t.Fatal("stored again it has another body")
				}
			}
			b = rest
		}
	})
}

func FuzzMember(f *testing.F) {
	b := AppendProperty(OpenMember(nil, []byte("body")), "a", "b")
	CloseMember(b, 0, 4)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			_, _, rest, err := Member(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) {
				t.Fatal("no progress")
			}
			b = rest
		}
	})
}
