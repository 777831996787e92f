package reactor_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/reactor"
)

// BenchmarkEcho measures the CPU time that a message costs the server. A client in another process has 100 connections,
// sends 20 bytes on them and gets them back, as fast as possible (busy) or 20,000 times a second (light).
//
//	go test -run '^$' -bench Echo -benchtime 3s -count 3 ./internal/reactor
func BenchmarkEcho(b *testing.B) {
	waits := []struct {
		name string
		wait reactor.Wait
	}{{"visible", reactor.WaitVisible}, {"parked", reactor.WaitParked}, {"hybrid", reactor.WaitHybrid}, {"raw", reactor.WaitRaw}}
	for _, rate := range []int{0, 20_000} {
		for _, procs := range []int{1, 2} {
			for _, w := range waits {
				load := "busy"
				if rate > 0 {
					load = "light"
				}
				b.Run(fmt.Sprintf("%s/procs=%d/%s", load, procs, w.name), func(b *testing.B) {
					benchEcho(b, reactor.Options{Wait: w.wait}, procs, rate)
				})
			}
		}
	}
}

// benchServer echoes in place and counts.
type benchServer struct {
	loop  *reactor.Loop
	socks []reactor.Socket
	left  int           // messages until done
	done  chan struct{} // closed when left is 0
}

func (s *benchServer) Ready(k reactor.Key, ev reactor.Events) {
	if ev&(reactor.Readable|reactor.Hangup) == 0 {
		return
	}
	sock := s.socks[k.Index]
	n, err := sock.Read(s.loop.Buffer())
	if err != nil {
		return
	}
	_, _ = sock.Write(s.loop.Buffer()[:n])
	if s.left--; s.left == 0 {
		close(s.done)
	}
}

func (*benchServer) Timeout(reactor.Key) {}
func (*benchServer) Flush()              {}

func (s *benchServer) accept(k reactor.Key, sock reactor.Socket, _ netip.AddrPort) {
	for int(k.Index) >= len(s.socks) {
		s.socks = append(s.socks, reactor.Socket{})
	}
	s.socks[k.Index] = sock
}

const benchConns = 100

func benchEcho(b *testing.B, o reactor.Options, procs, rate int) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	s := &benchServer{done: make(chan struct{})}
	loop, err := reactor.New(s, o)
	if err != nil {
		b.Fatal(err)
	}
	s.loop = loop
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	if _, err := loop.Listen(ln, s.accept); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- loop.Run() }()
	client := exec.Command(os.Args[0])
	client.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", clientEnv, ln.Addr(), rate))
	client.Stderr = os.Stderr
	if err := client.Start(); err != nil {
		b.Fatal(err)
	}
	warm := make(chan struct{})
	loop.Post(func() { s.left, s.done = 5000, warm })
	<-warm
	done := make(chan struct{})
	b.ResetTimer()
	before, began := cpuTime(b), loop.Stats()
	loop.Post(func() { s.left, s.done = b.N, done })
	<-done
	used, stats := cpuTime(b)-before, loop.Stats()
	b.StopTimer()
	n := float64(b.N)
	b.ReportMetric(float64(used.Nanoseconds())/n/1e3, "cpu-us/msg")
	b.ReportMetric(float64(stats.Turns-began.Turns)/n, "turns/msg")
	b.ReportMetric(float64(stats.Sleeps-began.Sleeps)/n, "sleeps/msg")
	_ = client.Process.Kill()
	_ = client.Wait()
	loop.Stop()
	if err := <-ended; err != nil {
		b.Error(err)
	}
	for _, sock := range s.socks {
		if sock.Valid() {
			_ = sock.Close()
		}
	}
}

// BenchmarkIdle measures the CPU time of an idle loop per second.
func BenchmarkIdle(b *testing.B) {
	for name, wait := range map[string]reactor.Wait{
		"visible": reactor.WaitVisible, "parked": reactor.WaitParked, "hybrid": reactor.WaitHybrid, "raw": reactor.WaitRaw,
	} {
		b.Run(name, func(b *testing.B) {
			loop, err := reactor.New(&script{}, reactor.Options{Wait: wait})
			if err != nil {
				b.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- loop.Run() }()
			const rest = time.Second
			before := cpuTime(b)
			for b.Loop() {
				<-time.After(rest)
			}
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/s")
			loop.Stop()
			<-ended
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchClient is the client process. It ends when it is killed or the server is gone.
func benchClient(orders string) int {
	var address string
	var rate int
	if _, err := fmt.Sscan(orders, &address, &rate); err != nil {
		return 2
	}
	s := &benchServer{}
	loop, err := reactor.New(s, reactor.Options{Wait: reactor.WaitRaw})
	if err != nil {
		return 1
	}
	s.loop = loop
	message := make([]byte, 20)
	for range benchConns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return 1
		}
		k, sock, err := addFD(loop, c.(*net.TCPConn))
		if err != nil {
			return 1
		}
		s.accept(k, sock, netip.AddrPort{})
	}
	if rate > 0 {
		return sendAtRate(s.socks, message, rate)
	}
	for _, sock := range s.socks {
		_, _ = sock.Write(message)
	}
	if loop.Run() != nil {
		return 1
	}
	return 0
}

// sendAtRate sends on one socket after another at even intervals, until the server is gone.
func sendAtRate(socks []reactor.Socket, message []byte, rate int) int {
	buf := make([]byte, 4096)
	step := int64(time.Second) / int64(rate)
	for next := reactor.Monotonic(); ; {
		for i := range socks {
			for reactor.Monotonic() < next {
			}
			next += step
			if _, err := socks[i].Write(message); err != nil {
				return 0
			}
			_, _ = socks[(i+len(socks)/2)%len(socks)].Read(buf)
		}
	}
}
