// Package flow makes numbered records with random content, produces them to Kafka, and checks what came out at the
// other end: nothing missing, nothing changed, order kept per key and per partition, repeats counted.
package flow

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/service"
)

// PathHeader is what the Kafka sink adds; it is no part of a record's content.
const PathHeader = "connect-path"

// Plan says which records to make. The same plan makes the same records.
type Plan struct {
	Records int
	// Size of each value in bytes, random and incompressible.
	Size int
	// Keys is how many different keys the records share.
	Keys int
	Seed uint64
	// Begin is the timestamp of the first record; the others follow 100 µs apart. It has to be recent: Kafka removes what
	// is older than its retention.
	Begin time.Time
	// Rate in records per second; 0 is as fast as it goes.
	Rate int
	// Partitions is between how many a producer deals the records, by Partition; 0 leaves that to the producer.
	Partitions int
}

// Partition is where record i belongs, by its number alone, so that whoever reads it elsewhere knows it too. Records of
// one key share a partition.
func (p Plan) Partition(i int) int32 { return int32(i % p.Keys % max(p.Partitions, 1)) }

// Record makes record i: most have a printable key and headers, some a binary key, a binary header, a repeated header,
// or no key at all.
func (p Plan) Record(topic string, i int) *kgo.Record {
	rng := rand.New(rand.NewPCG(p.Seed, uint64(i)))
	value := make([]byte, p.Size)
	for at := 0; at < len(value); at += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], rng.Uint64())
		copy(value[at:], word[:])
	}
	r := &kgo.Record{
		Topic:     topic,
		Partition: p.Partition(i),
		Value:     value,
		Timestamp: p.Begin.Add(time.Duration(i) * 100 * time.Microsecond).Truncate(time.Millisecond),
		Headers:   []kgo.RecordHeader{{Key: "id", Value: []byte(strconv.Itoa(i))}},
	}
	switch key := "key-" + strconv.Itoa(i%p.Keys); {
	case i%101 == 0:
	case i%10 == 3:
		r.Key = append([]byte{0, 1, 2, 0xff}, key...)
	default:
		r.Key = []byte(key)
	}
	if i%20 == 7 {
		r.Headers = append(r.Headers,
			kgo.RecordHeader{Key: "trace", Value: binary.BigEndian.AppendUint64(nil, rng.Uint64())},
			kgo.RecordHeader{Key: "trace", Value: nil})
	} else {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "trace", Value: []byte(strconv.FormatUint(rng.Uint64(), 36))})
	}
	return r
}

// Digest is the content hash of a record: key, value, timestamp and headers but the sink's own.
type Digest [16]byte

// DigestOf hashes the record's content.
func DigestOf(r *kgo.Record) Digest {
	h := sha256.New()
	part := func(b []byte) {
		n := int64(len(b))
		if b == nil {
			n = -1
		}
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(n))
		h.Write(size[:])
		h.Write(b)
	}
	part(r.Key)
	part(r.Value)
	part([]byte(strconv.FormatInt(r.Timestamp.UnixMilli(), 10)))
	for _, x := range r.Headers {
		if x.Key != PathHeader {
			part([]byte(x.Key))
			part(x.Value)
		}
	}
	return Digest(h.Sum(nil)[:16])
}

// Produce sends all records of the plan to the Kafka topic and returns when Kafka has confirmed them. progress is told
// the number confirmed so far, once a second.
func Produce(ctx context.Context, brokers, topic string, p Plan, progress func(done int)) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ProducerBatchMaxBytes(1<<20),
		kgo.MaxBufferedRecords(20_000), kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return fmt.Errorf("opening the Kafka producer: %w", err)
	}
	defer client.Close()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var done atomic.Int64
	start, told := time.Now(), time.Now()
	for i := range p.Records {
		if err := p.pace(ctx, start, i); err != nil {
			return fmt.Errorf("producing record %d: %w", i, err)
		}
		client.Produce(ctx, p.Record(topic, i), func(_ *kgo.Record, err error) {
			if err != nil {
				fail(err)
				return
			}
			done.Add(1)
		})
		if time.Since(told) > time.Second {
			told = time.Now()
			progress(int(done.Load()))
		}
	}
	if err := client.Flush(ctx); err != nil {
		return fmt.Errorf("flushing: %w", context.Cause(ctx))
	}
	if n := int(done.Load()); n != p.Records {
		return fmt.Errorf("producing: Kafka confirmed %d of %d records: %w", n, p.Records, context.Cause(ctx))
	}
	progress(p.Records)
	return nil
}

// pace waits until record i is due.
func (p Plan) pace(ctx context.Context, start time.Time, i int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if p.Rate == 0 || i%50 != 0 {
		return nil
	}
	return service.Sleep(ctx, time.Until(start.Add(time.Duration(i)*time.Second/time.Duration(p.Rate))))
}
