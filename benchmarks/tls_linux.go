package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// tlsServers are those that "tls" compares: Expedite, whose event loop reads and writes the records; without TLS; with
// crypto/tls for all records; and gws over crypto/tls.
var tlsServers = []string{"expedite tls", "expedite", "expedite tls std", "gws tls"}

var tlsEchoes = []scenario{
	{"echo 20 B", 500, 1, 20}, {"echo 16 KiB", 100, 1, 16 << 10}, {"echo 20 B", 100, 16, 20},
}

// runTLS compares servers with TLS.
func runTLS(args []string) error {
	flags := flag.NewFlagSet("tls", flag.ExitOnError)
	rounds := flags.Int("rounds", 5, "rounds per server")
	length := flags.Duration("time", 2*time.Second, "length of a round")
	idle := flags.Int("idle", 5000, "connections of the idle scenario")
	crowd := flags.Int("crowd", 2000, "clients that come at once")
	servers := flags.String("servers", strings.Join(tlsServers, ","), "servers of the echo and idle scenarios")
	if err := flags.Parse(args); err != nil {
		return err
	}
	remove, err := certify()
	if err != nil {
		return err
	}
	defer remove()
	names := strings.Split(*servers, ",")
	what := flags.Args()
	if len(what) == 0 {
		what = []string{"echo", "idle", "handshakes", "crowd"}
	}
	for _, w := range what {
		switch w {
		case "echo":
			err = compare(names, tlsEchoes, "/echo", *rounds, *length)
		case "idle":
			err = idleMemory(names, *idle)
		case "handshakes":
			err = compareHandshakes(*rounds, *length)
		case "crowd":
			err = measureCrowd(*crowd)
		default:
			err = fmt.Errorf("unknown scenario %q: want echo, idle, handshakes or crowd", w)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bareTLS starts a server that does the handshakes of crypto/tls, and waits for the clients to leave.
func bareTLS() (string, error) {
	ln, err := listenTLS("bare tls")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return ln.Addr().String(), nil
}

// compareHandshakes measures the CPU time of handshakes, full and resumed, beside a bare server's.
func compareHandshakes(rounds int, length time.Duration) error {
	runtime.LockOSThread()
	servers := []string{"expedite tls", "bare tls", "expedite tls std"}
	for _, resumed := range []bool{false, true} {
		cpu := make(map[string][]float64)
		for range rounds {
			for _, name := range servers {
				used, err := measureHandshakes(name, length, resumed)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				cpu[name] = append(cpu[name], used)
			}
		}
		fmt.Printf("handshakes, resumed: %v\n", resumed)
		bare := median(cpu["bare tls"])
		for _, name := range servers {
			m := median(cpu[name])
			fmt.Printf("  %-16s %8.1f us CPU per handshake (least %.1f)  %6.0f per CPU-second  %5.2f times bare\n",
				name, m, slices.Min(cpu[name]), 1e6/m, bare/m)
		}
	}
	return nil
}

// handshakers is how many clients do handshakes at a time.
const handshakers = 8

// measureHandshakes returns the microseconds of CPU time that a server spends for a connection that only does the
// handshake.
func measureHandshakes(name string, length time.Duration, resumed bool) (float64, error) {
	s, err := startServer(name)
	if err != nil {
		return 0, err
	}
	defer s.stop()
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
	if resumed {
		cfg.ClientSessionCache = new(oneSession)
		if err := fetchTicket(s.addr.String(), cfg); err != nil {
			return 0, err
		}
	}
	if _, err := handshakes(s.addr.String(), cfg, length/4); err != nil { // warm-up
		return 0, err
	}
	before := s.cpu()
	n, err := handshakes(s.addr.String(), cfg, length)
	used := s.cpu() - before
	return float64(used.Nanoseconds()) / 1000 / float64(max(n, 1)), err
}

// handshakes does handshakes for some time, and returns how many.
func handshakes(addr string, cfg *tls.Config, length time.Duration) (sum int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	end := time.Now().Add(length)
	for range handshakers {
		wg.Go(func() {
			n := 0
			var failed error
			for ; failed == nil && time.Now().Before(end); n++ {
				failed = handshake(addr, cfg)
			}
			mu.Lock()
			defer mu.Unlock()
			sum, err = sum+n, errors.Join(err, failed)
		})
	}
	wg.Wait()
	return sum, err
}

var errNotResumed = errors.New("the server did not resume a session")

func handshake(addr string, cfg *tls.Config) error {
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return err
	}
	if cfg.ClientSessionCache != nil && !c.ConnectionState().DidResume {
		err = errNotResumed
	}
	return errors.Join(err, c.Close())
}

// fetchTicket fills the cache of cfg. The ticket follows the handshake, before anything that the server has to say.
func fetchTicket(addr string, cfg *tls.Config) error {
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(time.Second / 2))
	_, err = c.Read(make([]byte, 1))
	if ne, ok := errors.AsType[net.Error](err); ok && !ne.Timeout() || err == nil {
		return fmt.Errorf("while waiting for a ticket: %w", err)
	}
	if _, ok := cfg.ClientSessionCache.Get(""); !ok {
		return errors.New("the server has sent no ticket")
	}
	return nil
}

// oneSession keeps the first session.
type oneSession struct {
	mu   sync.Mutex
	kept *tls.ClientSessionState
}

// Get implements tls.ClientSessionCache.
func (o *oneSession) Get(string) (*tls.ClientSessionState, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept, o.kept != nil
}

// Put implements tls.ClientSessionCache.
func (o *oneSession) Put(_ string, s *tls.ClientSessionState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept == nil {
		o.kept = s
	}
}

var _ tls.ClientSessionCache = (*oneSession)(nil)

// crowdTime is how long others are watched before a crowd comes.
const crowdTime = 3 * time.Second

// measureCrowd measures what others notice of n clients that come at once, and the memory meanwhile.
func measureCrowd(n int) error {
	for _, name := range []string{"expedite tls", "gws tls"} {
		if err := crowdAt(name, n); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func crowdAt(name string, n int) error {
	runtime.LockOSThread()
	s, err := startServer(name)
	if err != nil {
		return err
	}
	defer s.stop()
	l, err := newShaped(s.addr, "/echo", 50, shape{payloadLen, true})
	if err != nil {
		return err
	}
	e, err := newEchoer(l)
	if err != nil {
		return err
	}
	defer e.close()
	calm := span{from: time.Now()}
	time.Sleep(crowdTime)
	calm.to = time.Now()
	before := residentPeak(s.cmd.Process.Pid)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	crowd := span{from: time.Now()}
	c, err := startProgram("nice", nil, "-n", "15", self, "tls-crowd", s.addr.String(), fmt.Sprint(n))
	if err != nil {
		return err
	}
	line, err := c.out.ReadString('\n')
	crowd.to = time.Now()
	peak := residentPeak(s.cmd.Process.Pid)
	c.stop()
	if err := errors.Join(err, e.stop()); err != nil {
		return err
	}
	quiet, during := e.latency(calm), e.latency(crowd)
	fmt.Printf("crowd, %s: %d clients at once: %s in %.1f s\n", name, n, strings.TrimSpace(line), crowd.length().Seconds())
	fmt.Printf("  echo      before       %v\n", quiet)
	fmt.Printf("            meanwhile    %v  p99 %+.3f ms\n", during, ms(during.p99-quiet.p99))
	fmt.Printf("  resident  %.1f MiB more at the peak, %.1f KiB per client\n",
		float64(peak-before)/(1<<20), float64(peak-before)/1024/float64(n))
	return nil
}
