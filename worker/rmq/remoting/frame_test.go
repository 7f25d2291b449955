package remoting

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// wireEqual leaves out what is not sent; fields that are empty and nil are the same on the wire.
var wireEqual = cmp.Options{cmpopts.IgnoreFields(Command{}, "Reset"), cmp.Comparer(bytes.Equal), cmp.Comparer(slices.Equal[[]Field])}

func frame(c *Command) []byte { return append(c.AppendHead(nil), c.Body...) }

func TestFrameRoundTrip(t *testing.T) {
	cases := map[string]Command{
		"bare":                        {Code: RouteByTopic, Opaque: 1},
		"with fields and a body":      {Code: SendBatch, Opaque: 77, Fields: []Field{{"a", "group"}, {"i", ""}}, Body: []byte("body")},
		"with properties in a field":  {Code: SendMessageV2, Fields: []Field{{"i", "KEYS\x01k\x02name\x01\"quoted\\\" ümlaut 漢 \U0001F600\x02"}}},
		"an answer with a remark":     {Code: TopicNotExist, Flag: FlagResponse, Opaque: -5, Remark: "no such topic\n\"x\""},
		"with a body beyond one read": {Code: PullMessage, Body: bytes.Repeat([]byte("0123456789"), 400_000)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, r := range []io.Reader{bytes.NewReader(frame(&tc)), iotest.HalfReader(bytes.NewReader(frame(&tc)))} {
				got, err := ReadFrame(r)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(&tc, got, wireEqual); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// binaryFrame is an answer in the ROCKETMQ serialization.
func binaryFrame(c *Command) []byte {
	var fields []byte
	for _, f := range c.Fields {
		fields = binary.BigEndian.AppendUint16(fields, uint16(len(f.Name)))
		fields = append(fields, f.Name...)
		fields = binary.BigEndian.AppendUint32(fields, uint32(len(f.Value)))
		fields = append(fields, f.Value...)
	}
	var h []byte
	h = binary.BigEndian.AppendUint16(h, uint16(c.Code))
	h = append(h, 0, 1, 61) // language, version
	h = binary.BigEndian.AppendUint32(h, uint32(c.Opaque))
	h = binary.BigEndian.AppendUint32(h, uint32(c.Flag))
	h = binary.BigEndian.AppendUint32(h, uint32(len(c.Remark)))
	h = append(h, c.Remark...)
	h = binary.BigEndian.AppendUint32(h, uint32(len(fields)))
	h = append(h, fields...)
	out := binary.BigEndian.AppendUint32(nil, uint32(4+len(h)+len(c.Body)))
	out = binary.BigEndian.AppendUint32(out, 1<<24|uint32(len(h)))
	return append(append(out, h...), c.Body...)
}

func TestBinaryFrame(t *testing.T) {
	want := Command{
		Code: PullNotFound, Flag: FlagResponse, Opaque: 12345, Remark: "OFFSET_OVERFLOW_ONE",
		Fields: []Field{{"nextBeginOffset", "7"}, {"empty", ""}}, Body: []byte{1, 2},
	}
	got, err := ReadFrame(bytes.NewReader(binaryFrame(&want)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got, wireEqual); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadFrames(t *testing.T) {
	good := frame(&Command{Code: 1, Fields: []Field{{"a", "b"}}})
	length := func(n uint32, rest ...byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), rest...) }
	withHeader := func(h string) []byte {
		return append(length(uint32(4+len(h)), 0, 0, 0, byte(len(h))), h...)
	}
	cases := map[string][]byte{
		"length below the header length":        length(3, 0, 0, 0),
		"length beyond the cap":                 length(MaxFrame+1, 0, 0, 0, 0),
		"header longer than the frame":          length(4, 0, 0, 0, 9),
		"unknown serialization":                 length(4, 7, 0, 0, 0),
		"cut off within the length":             good[:2],
		"cut off within the header":             good[:20],
		"header that is not JSON":               withHeader("hello"),
		"header that ends early":                withHeader(`{"code":1`),
		"something after the header":            withHeader(`{"code":1}x`),
		"code that is text":                     withHeader(`{"code":"x"}`),
		"opaque that is too large":              withHeader(`{"opaque":99999999999}`),
		"nested without end":                    withHeader(`{"x":` + strings.Repeat("[", 100) + `}`),
		"binary header that is cut off":         length(6, 1, 0, 0, 2, 0, 1),
		"binary header with a negative remark":  append(length(4+17, 1, 0, 0, 17), append(make([]byte, 13), 255, 255, 255, 255)...),
		"announced megabytes that do not come":  length(60<<20, 0, 0, 0, 4),
		"string with a control character in it": withHeader("{\"remark\":\"a\x01\"}"),
	}
	for name, bad := range cases {
		t.Run(name, func(t *testing.T) {
			if c, err := ReadFrame(bytes.NewReader(bad)); err == nil {
				t.Errorf("decoded as %+v", c)
			} else if !errors.Is(err, ErrFrame) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestFieldsOfRealAnswers(t *testing.T) {
	header := `{"code":0,"extFields":{"queueId":"0","TRACE_ON":"true","MSG_REGION":"DefaultRegion","msgId":"7F0000",` +
		`"queueOffset":"3","n":null,"t":true,"i":5},` +
		`"flag":1,"language":"JAVA","opaque":9,"remark":null,"serializeTypeCurrentRPC":"JSON","version":487, "more": [1, ` +
		`{"a":-1.5e3}, "x\u0041", false, null]}`
	payload := append(binary.BigEndian.AppendUint32(nil, uint32(len(header))), header...)
	c, err := DecodeFrame(payload)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Int("queueOffset"); n != 3 || err != nil {
		t.Errorf("queueOffset %d, %v", n, err)
	}
	if c.Opaque != 9 || c.Flag != FlagResponse || c.Remark != "" || c.Field("i") != "5" || c.Field("t") != "true" || c.Field("none") != "" {
		t.Errorf("decoded %+v", c)
	}
	if _, err := c.Int("msgId"); !errors.Is(err, ErrFrame) {
		t.Errorf("msgId as a number: %v", err)
	}
}

func TestUnmarshalBody(t *testing.T) {
	type table map[string]any
	cases := map[string]struct {
		body string
		want table
	}{
		"unquoted keys":            {`{"brokerAddrs":{0:"a:1",1:"b:2"}}`, table{"brokerAddrs": map[string]any{"0": "a:1", "1": "b:2"}}},
		"a negative key":           {`{-1:2}`, table{"-1": 2.0}},
		"what looks like one":      {`{"a":"{0:1,2:3}","b":[1,2],"c":"\",4:5"}`, table{"a": "{0:1,2:3}", "b": []any{1.0, 2.0}, "c": `",4:5`}},
		"quoted keys are left":     {`{"0":{"1":2}}`, table{"0": map[string]any{"1": 2.0}}},
		"escaped backslash at end": {`{"a":"\\",1:2}`, table{"a": `\`, "1": 2.0}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got table
			if err := UnmarshalBody([]byte(tc.body), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if err := UnmarshalBody([]byte(`{`), new(table)); !errors.Is(err, ErrFrame) {
		t.Errorf("broken body: %v", err)
	}
}

func TestSignature(t *testing.T) {
	fields := []Field{{"queueId", "0"}, {"Signature", "old"}, {"AccessKey", "rocketmq"}, {"topic", "orders"}}
	const want = "qi0ZHIBj0CMKn3Dl+BkR0IIo/9Y="
	if got := Signature("12345678", fields, []byte("body")); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	c := &Command{Fields: []Field{{"topic", "orders"}}, Body: []byte("body")}
	s := Credentials{AccessKey: "rocketmq", SecretKey: "12345678", SecurityToken: "sts"}
	s.sign(c)
	once := c.Field(FieldSignature)
	s.sign(c) // a request that is retried
	if len(c.Fields) != 4 || c.Field(FieldSignature) != once || c.Field(FieldSecurityToken) != "sts" {
		t.Errorf("signed twice: %v", c.Fields)
	}
}

// FuzzReadFrame compares the header scanner with encoding/json.
func FuzzReadFrame(f *testing.F) {
	f.Add(frame(&Command{Code: SendMessageV2, Opaque: 7, Fields: []Field{{"i", "KEYS\x01a\x02"}, {"ü", "漢"}}, Body: []byte("x")}))
	f.Add(frame(&Command{Code: PullNotFound, Flag: FlagResponse, Remark: "not \"found\""}))
	f.Add(binaryFrame(&Command{Code: 5, Remark: "r", Fields: []Field{{"a", "b"}}, Body: []byte("x")}))
	f.Add([]byte("\x00\x00\x00\x20\x00\x00\x00\x1c{\"code\":1,\"x\":[{0:1},null]}  "))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadFrame(bytes.NewReader(b))
		if err != nil || b[4] != 0 {
			return
		}
		raw := b[8 : 8+int(binary.BigEndian.Uint32(b[4:])&0xffffff)]
		var want map[string]json.RawMessage
		if json.Unmarshal(raw, &want) != nil {
			return // unquoted keys are ours to take
		}
		wantSame(t, want["code"], got.Code)
		wantSame(t, want["flag"], got.Flag)
		wantSame(t, want["opaque"], int(got.Opaque))
		wantSame(t, want["remark"], got.Remark)
		again, err := ReadFrame(bytes.NewReader(frame(got)))
		if err != nil {
			t.Fatalf("%q: what was decoded does not decode again: %v", raw, err)
		}
		if diff := cmp.Diff(got, again, wireEqual); diff != "" {
			t.Fatalf("(-decoded +again):\n%s", diff)
		}
	})
}

// wantSame fails if encoding/json reads another value of T than got.
func wantSame[T comparable](t *testing.T, raw json.RawMessage, got T) {
	t.Helper()
	var want T
	if raw != nil && json.Unmarshal(raw, &want) == nil && got != want {
		t.Fatalf("%s was read as %v", raw, got)
	}
}

// FuzzUnmarshalBody compares with encoding/json, which takes all but the unquoted keys.
func FuzzUnmarshalBody(f *testing.F) {
	f.Add([]byte(`{"brokerAddrs":{"0":"h:1"},"x":[1,-2.5e3,null,true,"a\\\"{1:2}"]}`))
	f.Add([]byte(`{0:"h:1",-1:{2:[]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, want any
		err := UnmarshalBody(body, &got)
		if json.Unmarshal(body, &want) != nil {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", body, diff)
		}
	})
}
