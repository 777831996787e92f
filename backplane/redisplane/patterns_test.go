package redisplane_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/redistest"
)

// BenchmarkPatterns measures what subscriptions by pattern would cost Redis: its processor time for each PUBLISH, with a
// number of patterns none of which matches. Decision 26.
func BenchmarkPatterns(b *testing.B) {
	for _, patterns := range []int{0, 1, 100, 1000} {
		b.Run(fmt.Sprint(patterns), func(b *testing.B) {
			s := redistest.Start(b)
			subscriber := dialRedis(b, s)
			for i := range patterns {
				fmt.Fprintf(subscriber, "PSUBSCRIBE expedite:0:tenant-%d.*\r\n", i)
			}
			fmt.Fprint(subscriber, "SUBSCRIBE expedite:0:orders.7\r\n")
			go func() { _, _ = io.Copy(io.Discard, subscriber) }() // ends with the connection
			redistest.Until(b, "all are subscribed", func() bool {
				return s.Do("PUBSUB", "NUMPAT") == strconv.Itoa(patterns) &&
					strings.HasSuffix(s.Do("PUBSUB", "NUMSUB", "expedite:0:orders.7"), "1")
			})
			publisher := dialRedis(b, s)
			answers := bufio.NewReader(publisher)
			const batch = 1000
			one := strings.Repeat("PUBLISH expedite:0:orders.7 "+strings.Repeat("x", 100)+"\r\n", batch)
			before := cpuOf(b, s)
			b.ResetTimer()
			n := 0
			for ; n < max(b.N, 20*batch); n += batch {
				if _, err := io.WriteString(publisher, one); err != nil {
					b.Fatal(err)
				}
				for range batch {
					if line, err := answers.ReadString('\n'); err != nil || line != ":1\r\n" {
						b.Fatalf("got %q, %v", line, err)
					}
				}
			}
			b.ReportMetric((cpuOf(b, s)-before)*1e6/float64(n), "redis-us/publish")
		})
	}
}

func dialRedis(b *testing.B, s *redistest.Server) net.Conn {
	c, err := net.Dial("unix", strings.TrimPrefix(s.URL(), "unix://"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// cpuOf returns the processor time of a server in seconds.
func cpuOf(b *testing.B, s *redistest.Server) (sum float64) {
	for line := range strings.Lines(s.Do("INFO", "cpu")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user" || name == "used_cpu_sys" {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += v
		}
	}
	return sum
}
