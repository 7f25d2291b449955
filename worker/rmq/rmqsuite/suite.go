// Package rmqsuite is what a rmq.Client must do on any broker: it runs on the in-memory one and on the real one.
package rmqsuite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// within bounds every single wait of the suite.
const within = 30 * time.Second

// env is one test's client, and names that nobody else uses.
type env struct {
	*testing.T
	client *rmq.Client
	ctx    context.Context
	suffix string
	group  service.Group
}

// Run runs the suite. newClient makes a client of the broker under test; Run closes it.
func Run(t *testing.T, newClient func(t *testing.T) *rmq.Client) {
	cases := map[string]func(*env){
		"a topic is created once and keeps its shape":        topicKeepsItsShape,
		"a log topic is created and found again":             logTopic,
		"a topic that is not there is not found":             topicNotFound,
		"a log topic has exactly one queue":                  logTopicShape,
		"a group is created once":                            groupIsCreated,
		"a group without clients has no members":             noMembers,
		"offsets by time":                                    offsetsByTime,
		"committed offsets are read back":                    commit,
		"a log is read in the order it was appended":         logOrder,
		"a log keeps keys, values and store times":           logContents,
		"a log knows what was written for another one":       logStrays,
		"a follower sees what is appended later":             followFollows,
		"a follower ends at once with its context":           followEnds,
		"a log does not hold what it never had":              logTruncated,
		"a log tells how long it keeps records":              logRetention,
		"a log refuses an empty value":                       logEmptyValue,
		"a sender keeps the order of each queue":             senderOrder,
		"a sender chooses by key or in turn":                 senderChooses,
		"a sender keeps bodies and properties":               senderContents,
		"a bad message fails alone":                          senderRefuses,
		"a sender asks its gate":                             senderGate,
		"a sender blocks when full and fails what is left":   senderCloses,
		"a reader follows its assignment":                    readerAssigns,
		"a reader pauses and tells the lag":                  readerPauses,
		"a reader waits for records":                         readerWaits,
		"a reader starts over when its offset is gone":       readerLooksAgain,
		"appends on a topic that is not there are not found": appendNotFound,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), within)
			defer cancel()
			e := &env{T: t, client: newClient(t), ctx: ctx, suffix: fmt.Sprintf("-%08x", rand.Uint32())}
			defer func() {
				if err := e.client.Close(); err != nil {
					t.Errorf("closing the client: %v", err)
				}
				e.group.Wait()
			}()
			run(e)
		})
	}
}

// name gives a name that is this test's own.
func (e *env) name(s string) string { return "suite-" + s + e.suffix }

func (e *env) ok(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// topic makes a topic with n queues on each master and returns them.
func (e *env) topic(n int) []rmq.Queue {
	e.Helper()
	queues, err := e.client.EnsureTopic(e.ctx, e.name("topic"), rmq.TopicSpec{Queues: n})
	e.ok(err)
	return queues
}

// log makes a log.
func (e *env) log() *rmq.Log {
	e.Helper()
	q, err := e.client.EnsureLogTopic(e.ctx, e.name("log"), rmq.LogPlace{})
	e.ok(err)
	return e.client.Log(q)
}

// background runs fn beside the test, which waits for it after the client was closed.
func (e *env) background(fn func()) { e.group.Go(fn) }

// eventually waits until check says true.
func (e *env) eventually(what string, check func() bool) {
	e.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !check() {
		select {
		case <-tick.C:
		case <-e.ctx.Done():
			e.Fatalf("gave up waiting: %s", what)
		}
	}
}
