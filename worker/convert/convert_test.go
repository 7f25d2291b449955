package convert

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var at = time.UnixMilli(1_700_000_000_123)

func header(name, value string) record.Header { return record.Header{Name: name, Value: []byte(value)} }

// nasty are records that have to come out as they went in.
func nasty() map[string]record.Record {
	long := strings.Repeat("k", 256)
	return map[string]record.Record{
		"with a path": {Value: []byte("v"), Path: record.Path(record.PlaceOf("kafka:x", "orders"))},
		"with a path and odd headers": {
			Value:   []byte("v"),
			Path:    record.Path(record.PlaceOf("kafka:x", "orders")),
			Headers: []record.Header{{Name: "n"}},
		},
		"plain": {
			Key:       []byte("order-17"),
			Value:     []byte("hello"),
			Timestamp: at,
			Headers:   []record.Header{header("trace", "abc def")},
		},
		"no key, no headers":             {Value: []byte("v"), Timestamp: at},
		"no timestamp":                   {Key: []byte("k"), Value: []byte("v")},
		"timestamp before 1970":          {Value: []byte("v"), Timestamp: time.UnixMilli(-5)},
		"null value":                     {Key: []byte("k"), Timestamp: at},
		"empty value":                    {Key: []byte("k"), Value: []byte{}, Timestamp: at},
		"value of one zero byte":         {Key: []byte("k"), Value: []byte{0}},
		"empty key":                      {Key: []byte{}, Value: []byte("v")},
		"binary key":                     {Key: []byte{0, 1, 2, 0xff, 0xfe}, Value: []byte{0, 1, 2}},
		"key with a space":               {Key: []byte("two words"), Value: []byte("v")},
		"key that looks like base64 pad": {Key: []byte("="), Value: []byte("v")},
		"key of 255 bytes":               {Key: []byte(long[:255]), Value: []byte("v")},
		"key of 256 bytes":               {Key: []byte(long), Value: []byte("v")},
		"key in Chinese":                 {Key: []byte("订单-17"), Value: []byte("v")},
		"key with an ideographic space":  {Key: []byte("订\u3000单"), Value: []byte("v")},
		"key that is cut UTF-8":          {Key: []byte("订")[:2], Value: []byte("v")},
		"headers not sorted":             {Value: []byte("v"), Headers: []record.Header{header("b", "1"), header("c", "2"), header("a", "3")}},
		"headers repeated":               {Value: []byte("v"), Headers: []record.Header{header("a", "2"), header("b", "x"), header("a", "1")}},
		"header binary":                  {Value: []byte("v"), Headers: []record.Header{header("bin", "\x00\x01\x02\xff"), header("ok", "yes")}},
		"header null":                    {Value: []byte("v"), Headers: []record.Header{{Name: "n"}}},
		"header empty":                   {Value: []byte("v"), Headers: []record.Header{header("e", "")}},
		"header without a name":          {Value: []byte("v"), Headers: []record.Header{header("", "x"), {}}},
		"header names of bytes 1 and 2":  {Value: []byte("v"), Headers: []record.Header{header("a\x01b", "x"), header("a\x02", "y")}},
		"header values of bytes 1 and 2": {Value: []byte("v"), Headers: []record.Header{header("a", "x\x01y\x02")}},
		"header name that is not UTF-8":  {Value: []byte("v"), Headers: []record.Header{header("\xff\xfe", "x")}},
		"header name with a space":       {Value: []byte("v"), Headers: []record.Header{header("a b", "x")}},
		"headers named as RocketMQ's own": {
			Value: []byte("v"),
			Headers: []record.Header{
				header("KEYS", "a"),
				header("TAGS", "b"),
				header("DELAY", "3"),
				header("UNIQ_KEY", "c"),
				header("WAIT", "false"),
			},
		},
		"headers named as ours": {
			Key:   []byte("k"),
			Value: []byte("v"),
			Headers: []record.Header{
				header("connect-key", "AAAA"),
				header("connect-null", "1"),
				header("connect-headers", "x"),
				header("connect-origin", "blue"),
			},
		},
		"header with spaces at its ends": {Value: []byte("v"), Headers: []record.Header{header("a", " x ")}},
		"header with a new line":         {Value: []byte("v"), Headers: []record.Header{header("a", "x\ny")}},
		"more headers than fit on a stack": {Value: []byte("v"), Headers: slices.Collect(func(yield func(record.Header) bool) {
			for i := range 40 {
				if !yield(header(fmt.Sprintf("h%d", i), "v")) {
					return
				}
			}
		})},
		"no room for properties and list": {
			Value:   []byte("v"),
			Headers: []record.Header{header("big", strings.Repeat("x", 16_000)), {Name: "null"}},
		},
	}
}

// received is what a reader gets: the properties in another order (brokers keep them in a hash map), and more of them.
func received(m rmq.Message, bornAt time.Time) *rmq.Received {
	properties := slices.Clone(m.Properties)
	slices.Reverse(properties)
	properties = append(properties,
		rmq.Property{Name: "UNIQ_KEY", Value: "7F000001"}, rmq.Property{Name: "CLUSTER", Value: "DefaultCluster"},
		rmq.Property{Name: "WAIT", Value: "true"}, rmq.Property{Name: "MIN_OFFSET", Value: "0"},
		rmq.Property{Name: "__RMQ.TRANSIENT.TOPIC_SYS_FLAG", Value: "0"})
	return &rmq.Received{
		Queue: rmq.Queue{Topic: m.Topic, Broker: "b", ID: 3}, Offset: 41, NextOffset: 42,
		Properties: properties, Body: m.Body, BornAt: bornAt,
	}
}

func TestRoundTrip(t *testing.T) {
	for name, want := range nasty() {
		t.Run(name, func(t *testing.T) {
			want.Topic, want.Queue = "orders", record.QueueAny
			m, err := ToMessage(&want)
			if err != nil {
				t.Fatal(err)
			}
			wantLegal(t, m)
			got, err := FromMessage(received(m, time.Time{}))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("came back otherwise (-want +got):\n%s", diff)
			}
		})
	}
}

// wantLegal checks what RocketMQ asks of a message.
func wantLegal(t *testing.T, m rmq.Message) {
	t.Helper()
	size, seen := 0, map[string]bool{}
	for _, p := range m.Properties {
		size += len(p.Name) + len(p.Value) + 2
		if p.Name == "" || p.Value == "" || strings.ContainsAny(p.Name+p.Value, "\x01\x02") || seen[p.Name] {
			t.Errorf("property %q=%q is not legal or repeats", p.Name, p.Value)
		}
		seen[p.Name] = true
	}
	if size > maxProperties {
		t.Errorf("properties take %d bytes", size)
	}
	if len(m.Body) == 0 {
		t.Error("the body is empty")
	}
}

func TestToMessageGolden(t *testing.T) {
	var out strings.Builder
	cases := nasty()
	names := make([]string, 0, len(cases))
	for name := range cases {
		if name != "no room for properties and list" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		r := cases[name]
		m, err := ToMessage(&r)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "# %s\nbody %q\n", name, m.Body)
		for _, p := range m.Properties {
			fmt.Fprintf(&out, "%s=%s\n", p.Name, p.Value)
		}
		out.WriteString("\n")
	}
	const path = "testdata/messages.golden.txt"
	if *update {
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("stored form changed (-want +got):\n%s", diff)
	}
}

func TestNativeMessages(t *testing.T) {
	cases := map[string]struct {
		properties []rmq.Property
		body       []byte
		want       record.Record
	}{
		"properties become headers, the tag too, sorted by name": {
			properties: []rmq.Property{
				{Name: "zone", Value: "eu"},
				{Name: "TAGS", Value: "paid"},
				{Name: "KEYS", Value: "k1 k2"},
				{Name: "app", Value: "shop"},
			},
			body: []byte("x"),
			want: record.Record{
				Key:     []byte("k1 k2"),
				Value:   []byte("x"),
				Headers: []record.Header{header("TAGS", "paid"), header("app", "shop"), header("zone", "eu")},
			},
		},
		"nothing but RocketMQ's own properties": {want: record.Record{Value: []byte{}}},
		"an order for other headers is left aside": {
			properties: []rmq.Property{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}, {Name: "connect-order", Value: "1,0,2"}},
			body:       []byte("x"),
			want:       record.Record{Value: []byte("x"), Headers: []record.Header{header("a", "2"), header("b", "1")}},
		},
		"an order that is no permutation is left aside": {
			properties: []rmq.Property{{Name: "b", Value: "1"}, {Name: "a", Value: "2"}, {Name: "connect-order", Value: "1,1"}},
			body:       []byte("x"),
			want:       record.Record{Value: []byte("x"), Headers: []record.Header{header("a", "2"), header("b", "1")}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := FromMessage(received(rmq.Message{Topic: "t", Properties: tc.properties, Body: tc.body}, at))
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Topic, tc.want.Queue, tc.want.Timestamp = "t", record.QueueAny, at
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnmappable(t *testing.T) {
	if _, err := ToMessage(&record.Record{Key: make([]byte, 30_000), Value: []byte("v")}); !errors.Is(err, ErrUnmappable) {
		t.Errorf("a key that fills the properties: %v", err)
	}
	for _, p := range []rmq.Property{
		{Name: PropertyKey, Value: "*"}, {Name: PropertyTimestamp, Value: "noon"},
		{Name: PropertyHeaders, Value: "*"}, {Name: PropertyHeaders, Value: "e30x"},
	} {
		_, err := FromMessage(&rmq.Received{Properties: []rmq.Property{p}, Body: []byte("v")})
		if !errors.Is(err, ErrUnmappable) || !strings.Contains(err.Error(), p.Name) {
			t.Errorf("%s=%s: %v", p.Name, p.Value, err)
		}
	}
}

func FuzzRoundTrip(f *testing.F) {
	for _, r := range nasty() {
		raw, err := json.Marshal(r.Headers)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(r.Key, r.Key == nil, r.Value, r.Value == nil, raw, int64(5))
	}
	f.Fuzz(func(t *testing.T, key []byte, noKey bool, value []byte, noValue bool, headers []byte, ms int64) {
		want := record.Record{Topic: "t", Queue: record.QueueAny, Key: notNil(key, noKey), Value: notNil(value, noValue)}
		want.Timestamp = time.UnixMilli(ms % (1 << 50))
		want.Headers = fuzzedHeaders(headers)
		m, err := ToMessage(&want)
		if err != nil {
			if !errors.Is(err, ErrUnmappable) || len(key)+len(headers) < 8_000 {
				t.Fatal(err)
			}
			return
		}
		wantLegal(t, m)
		got, err := FromMessage(received(m, time.Time{}))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func notNil(b []byte, isNil bool) []byte {
	if isNil {
		return nil
	}
	return append([]byte{}, b...)
}

// fuzzedHeaders cuts raw into names and values: the byte before each piece is its length.
func fuzzedHeaders(raw []byte) []record.Header {
	var headers []record.Header
	for len(raw) > 2 {
		name, value := int(raw[0])%8, int(raw[1])%9-1
		raw = raw[2:]
		var h record.Header
		h.Name, raw = string(raw[:min(name, len(raw))]), raw[min(name, len(raw)):]
		if value >= 0 {
			h.Value = append([]byte{}, raw[:min(value, len(raw))]...)
			raw = raw[min(value, len(raw)):]
		}
		headers = append(headers, h)
	}
	return headers
}

func BenchmarkToMessage(b *testing.B) {
	r := record.Record{
		Topic:     "t",
		Key:       []byte("order-17"),
		Value:     make([]byte, 1024),
		Timestamp: at,
		Headers:   []record.Header{header("trace", "abc"), header("zone", "eu")},
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ToMessage(&r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFromMessage(b *testing.B) {
	r := record.Record{
		Topic:     "t",
		Key:       []byte("order-17"),
		Value:     make([]byte, 1024),
		Timestamp: at,
		Headers:   []record.Header{header("trace", "abc"), header("zone", "eu")},
	}
	m, err := ToMessage(&r)
	if err != nil {
		b.Fatal(err)
	}
	in := received(m, at)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := FromMessage(in); err != nil {
			b.Fatal(err)
		}
	}
}

// Workers that know no paths carry them as they find them, among the headers that cannot be properties.
func TestAPathThatCameAsAHeaderIsTaken(t *testing.T) {
	path := record.Path(record.PlaceOf("kafka:x", "orders"))
	m, err := ToMessage(&record.Record{Value: []byte("v"), Headers: []record.Header{header("a", "1"), header("connect-path", string(path))}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := FromMessage(received(m, time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]record.Header{header("a", "1")}, got.Headers); diff != "" || got.Path != path {
		t.Errorf("path %q, headers (-want +got):\n%s", got.Path, diff)
	}
}

// A record may have as many headers as its sender likes. What cannot fit is refused before anything is built of it.
func TestHeadersWithoutEndAreRefusedAtOnce(t *testing.T) {
	headers := make([]record.Header, 100_000)
	for i := range headers {
		headers[i].Name = "h"
	}
	r := record.Record{Topic: "orders", Value: []byte("v"), Headers: headers}
	var err error
	allocated := testing.AllocsPerRun(1, func() { _, err = ToMessage(&r) })
	if !errors.Is(err, ErrUnmappable) || !strings.Contains(err.Error(), "its 100000 headers do not fit") {
		t.Errorf("got %v", err)
	}
	if allocated > 100 {
		t.Errorf("%v allocations", allocated)
	}
}
