//go:build linux

package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMedian(t *testing.T) {
	for name, tc := range map[string]struct {
		values []float64
		want   float64
	}{
		"none is zero":                       {nil, 0},
		"one is itself":                      {[]float64{4}, 4},
		"an odd number has a middle":         {[]float64{9, 1, 5}, 5},
		"an even number has the mean of two": {[]float64{8, 1, 2, 4}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			if got := median(tc.values); got != tc.want {
				t.Errorf("got %g, want %g", got, tc.want)
			}
		})
	}
}

func TestMediansAreOfEachFigureByItself(t *testing.T) {
	got := medians([]figures{{rate: 1, cpu: 9, rss: 5}, {rate: 3, cpu: 7, rss: 4}, {rate: 2, cpu: 8, rss: 6}})
	if want := (figures{rate: 2, cpu: 8, rss: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(i+1))
	}
	if mid, high := quantile(all, 0.5), quantile(all, 0.99); mid != 101 || high != 199 {
		t.Errorf("p50 %d, p99 %d of 1 to 200", mid, high)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("p50 %s of nothing", got)
	}
}

func TestThroughputTable(t *testing.T) {
	got := throughputTable([]round{{size: 1024, records: 1000, medians: map[entrant]figures{
		{source, nameWorker}: {rate: 90, bytes: 92160, cpu: 5, rss: 64 << 20, allocations: 4.25, lead: 0.5},
		{source, nameBare}:   {rate: 100, bytes: 102400, cpu: 4, rss: 96 << 20, allocations: 8, lead: 0.25},
		{peer, nameCold}:     {rate: 20, bytes: 20480, cpu: 40, rss: 640 << 20, lead: 12},
		{peer, nameWarm}:     {rate: 30, bytes: 30720, cpu: 20, rss: 650 << 20, lead: 2},
	}}})
	want := `| direction | value | records |                          | records/s | MB/s | CPU µs/record  | allocations/record | peak RSS MiB | first record s |
|-----------|-------|---------|--------------------------|-----------|------|----------------|--------------------|--------------|----------------|
| source    | 1 KiB | 1000    | worker                   | 90        | 0.1  | 5.00           | 4.2                | 64           | 0.50           |
| source    | 1 KiB | 1000    | bare                     | 100       | 0.1  | 4.00           | 8.0                | 96           | 0.25           |
| peer      | 1 KiB | 1000    | MM2 from cold            | 20        | 0.0  | 40.00          | –                  | 640          | 12.00          |
| peer      | 1 KiB | 1000    | MM2 warm                 | 30        | 0.0  | 20.00          | –                  | 650          | 2.00           |
| ratio     | 1 KiB |         | source worker / bare     | 0.90      |      | 0.80 per CPU-s |                    |              |                |
| ratio     | 1 KiB |         | source worker / MM2 warm | 3.00      |      | 4.00 per CPU-s |                    |              |                |
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRivalsTakeTurnsAtGoingFirst(t *testing.T) {
	jobs := map[kind]bareJob{sink: {Kind: sink}, peer: {Kind: peer}}
	want := []entrant{{sink, nameWorker}, {sink, nameBare}, {peer, nameCold}}
	for run := range 4 {
		if diff := cmp.Diff(want, turns(run, jobs), cmp.AllowUnexported(entrant{})); diff != "" {
			t.Errorf("run %d (-want +got):\n%s", run, diff)
		}
		slices.Reverse(want)
	}
}

func TestParseStat(t *testing.T) {
	for name, tc := range map[string]struct {
		stat    string
		want    time.Duration
		wantErr bool
	}{
		"user and system time " +
			"are added": {stat: "7 (worker) S 1 7 7 0 -1 4194304 9 0 0 0 120 34 0 0 20 0 9 0 1 2 3", want: 1540 * time.Millisecond},
		"a command may hold any " +
			"characters": {stat: "7 (a) b (c) S 1 7 7 0 -1 4194304 9 0 0 0 1 2 0 0 20 0 9 0 1 2 3", want: 30 * time.Millisecond},
		"too few fields": {stat: "7 (worker) S 1", wantErr: true},
		"no number":      {stat: "7 (worker) S 1 7 7 0 -1 4194304 9 0 0 0 x 34 0 0 20", wantErr: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat(tc.stat)
			if got != tc.want || (err != nil) != tc.wantErr {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:7530 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0 100 0 0 10 0
   1: 0100007F:7530 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0 100 0 0 10 0
   2: 00000000000000000000000001000000:7544 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 333 1 0 100 0 0 10 0
   3: 0100007F:7545 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 444 1 0 100 0 0 10 0
`
	if diff := cmp.Diff([]string{"111", "333"}, listening(table, []int{30000, 30020})); diff != "" {
		t.Errorf("inodes (-want +got):\n%s", diff)
	}
}

func TestOnlyBrokersOfThisMachineArePinned(t *testing.T) {
	got := ports([]string{"127.0.0.1:9876", "localhost:9092", "[::1]:1", "10.0.0.1:9092", "broker:9092", "nonsense"})
	if diff := cmp.Diff([]int{9876, 9092, 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		args    []string
		wantErr string
	}{
		"nothing is needed":            {nil, ""},
		"a size too small for a time":  {[]string{"-sizes", "8"}, "-sizes"},
		"a part that there is not":     {[]string{"-parts", "source,nap"}, "nap"},
		"no run at all":                {[]string{"-runs", "0"}, "-runs"},
		"a choice of sizes and parts":  {[]string{"-sizes", "100,2048", "-parts", "sink"}, ""},
		"latency shorter than warm-up": {[]string{"-latency-seconds", "1"}, "-latency-seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.args)
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("got %v, want one about %q", err, tc.wantErr)
			}
		})
	}
}

func TestBareLaneSendsAllInOrderInBatchesThatFit(t *testing.T) {
	for name, tc := range map[string]struct {
		records, size int
		want          []int
	}{
		"by number":             {records: 2*bareBatch + 1, size: 10, want: []int{bareBatch, bareBatch, 1}},
		"by bytes":              {records: 5, size: bareBytes / 2, want: []int{2, 2, 1}},
		"larger than any batch": {records: 2, size: bareBytes + 1, want: []int{1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			from := make(chan *kgo.Record, tc.records)
			for i := range tc.records {
				from <- &kgo.Record{Key: []byte(strconv.Itoa(i)), Value: make([]byte, tc.size)}
			}
			close(from)
			var batches []int
			next, failed := 0, false
			lane := bareLane{from: from, queue: &primitive.MessageQueue{Topic: "t"}}
			err := lane.run(t.Context(), func(_ context.Context, batch ...*primitive.Message) (*primitive.SendResult, error) {
				if !failed { // every batch is retried
					failed = true
					return nil, errors.New("busy")
				}
				failed = false
				batches = append(batches, len(batch))
				for _, m := range batch {
					if want := strconv.Itoa(next); m.GetKeys() != want {
						t.Fatalf("key %s, want %s", m.GetKeys(), want)
					}
					next++
				}
				return &primitive.SendResult{Status: primitive.SendOK}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, batches); diff != "" {
				t.Errorf("batches (-want +got):\n%s", diff)
			}
		})
	}
}
