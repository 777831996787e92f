//go:build unix

package redisplane_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// counter is a Receiver that counts.
type counter struct {
	messages, calls, listening atomic.Int64
	more                       chan struct{}
}

func (c *counter) Receive(list []backplane.Message) {
	c.messages.Add(int64(len(list)))
	c.calls.Add(1)
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *counter) Listening(topics []string) { c.listening.Add(int64(len(topics))) }

func (c *counter) Missing(topics []string, _ error) { c.listening.Add(-int64(len(topics))) }

// open starts a Backplane that is connected.
func open(b *testing.B, url string) (*redisplane.Redis, *counter) {
	b.Helper()
	r, err := redisplane.New([]string{url}, redisplane.Config{})
	if err != nil {
		b.Fatal(err)
	}
	c := &counter{more: make(chan struct{}, 1)}
	r.Start(c)
	b.Cleanup(func() { _ = r.Close() })
	redistest.Until(b, "it is connected", func() bool { return r.Status().Err == nil })
	return r, c
}

// cpu returns the processor time of this process.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perMessage runs something and reports the processor time of this process per message.
func perMessage(b *testing.B, run func()) {
	b.Helper()
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	run()
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

const payloadSize = 128

// BenchmarkPublish sends messages that nobody receives: as fast as possible, and one after the other has been answered.
func BenchmarkPublish(b *testing.B) {
	server := redistest.Start(b)
	for _, n := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", n), func(b *testing.B) {
			r, _ := open(b, server.URL())
			topics, payload := names(n), make([]byte, payloadSize)
			perMessage(b, func() {
				for i := range b.N {
					for errors.Is(r.Publish(topics[i%n], payload), backplane.ErrOverloaded) {
						<-time.After(100 * time.Microsecond)
					}
				}
				redistest.Until(b, "all is sent", func() bool { return r.Status().Queued == 0 })
			})
		})
	}
}

// redisCPU returns the processor time of a server.
func redisCPU(b *testing.B, server *redistest.Server) (total time.Duration) {
	b.Helper()
	for _, line := range strings.Fields(server.Do("INFO", "cpu")) {
		name, value, _ := strings.Cut(line, ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += time.Duration(seconds * 1e9)
	}
	return total
}

// BenchmarkHistory sends messages which one other machine receives: published ones, and those that are kept. They are
// sent in groups, of which the next is sent when all have arrived.
func BenchmarkHistory(b *testing.B) {
	server := redistest.Start(b)
	keep := backplane.Retention{Messages: 1000, For: time.Hour}
	for _, group := range []int{1, 100} {
		for _, kept := range []bool{false, true} {
			b.Run(fmt.Sprintf("group=%d/kept=%v", group, kept), func(b *testing.B) {
				from, _ := open(b, server.URL())
				to, c := open(b, server.URL())
				topics, payload := names(100), make([]byte, payloadSize)
				to.Subscribe(topics...)
				redistest.Until(b, "all are listened to", func() bool { return c.listening.Load() == int64(len(topics)) })
				publisher := rand.Uint64()
				before := redisCPU(b, server)
				perMessage(b, func() {
					for sent := 0; sent < b.N; {
						for range min(group, b.N-sent) {
							topic := topics[sent%len(topics)]
							sent++
							var err error
							if kept {
								err = from.Append(topic, backplane.Append{
									Key: backplane.Key{Publisher: publisher, Number: uint64(sent)}, Keep: keep, Payload: payload,
								}, func(backplane.Position, error) {})
							} else {
								err = from.Publish(topic, payload)
							}
							if err != nil {
								b.Fatal(err)
							}
						}
						for c.messages.Load() < int64(sent) {
							<-c.more
						}
					}
				})
				b.ReportMetric(float64(redisCPU(b, server)-before)/float64(b.N), "redis-ns/op")
			})
		}
	}
}

// BenchmarkReceive receives messages from a connection of its own, which writes commands that were made before: as fast
// as Redis can, or in groups of 10, of which the next is sent when they have arrived.
func BenchmarkReceive(b *testing.B) {
	server := redistest.Start(b, "--client-output-buffer-limit", "pubsub 0 0 0")
	for _, n := range []int{1, 10_000} {
		for _, group := range []int{10, 5000} {
			b.Run(fmt.Sprintf("topics=%d/group=%d", n, group), func(b *testing.B) {
				r, c := open(b, server.URL())
				topics := names(n)
				r.Subscribe(topics...)
				redistest.Until(b, "all are listened to", func() bool { return c.listening.Load() == int64(n) })
				from, err := net.Dial("unix", strings.TrimPrefix(server.URL(), "unix://"))
				if err != nil {
					b.Fatal(err)
				}
				defer from.Close()
				go func() { _, _ = io.Copy(io.Discard, from) }() // ends with the connection
				commands := publications(topics, group)
				perMessage(b, func() {
					for sent := 0; sent < b.N; {
						k := min(group, b.N-sent)
						if _, err := from.Write(bytes.Join(commands[:k], nil)); err != nil {
							b.Fatal(err)
						}
						for sent += k; c.messages.Load() < int64(sent); {
							<-c.more
						}
					}
				})
				b.ReportMetric(float64(c.messages.Load())/float64(c.calls.Load()), "msgs/call")
			})
		}
	}
}

// publications returns commands for topics in turn.
func publications(topics []string, n int) [][]byte {
	list := make([][]byte, n)
	payload := strings.Repeat("x", payloadSize)
	for i := range list {
		list[i] = []byte("*3\r\n$7\r\nPUBLISH\r\n")
		for _, arg := range []string{"expedite:0:" + topics[i*7919%len(topics)], payload} {
			list[i] = fmt.Appendf(list[i], "$%d\r\n%s\r\n", len(arg), arg)
		}
	}
	return list
}

// BenchmarkResubscribe loses the connection and subscribes to all topics again.
func BenchmarkResubscribe(b *testing.B) {
	const topics = 100_000
	server := redistest.Start(b, "--client-output-buffer-limit", "pubsub 0 0 0")
	r, c := open(b, server.URL())
	list := make([]string, topics)
	for i := range list {
		list[i] = "topic/" + strconv.Itoa(i)
	}
	r.Subscribe(list...)
	redistest.Until(b, "all are listened to", func() bool { return c.listening.Load() == topics })
	b.ResetTimer()
	for range b.N {
		server.Do("CLIENT", "KILL", "TYPE", "pubsub")
		for c.listening.Load() == topics {
			<-time.After(100 * time.Microsecond)
		}
		for c.listening.Load() != topics {
			<-time.After(100 * time.Microsecond)
		}
	}
}
