package main

import (
	_ "embed" // the server of Socket.IO
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/redistest"
)

//go:embed machines_socketio.mjs
var socketServer []byte

// socketPackages are what the server of Socket.IO imports.
var socketPackages = []string{"socket.io@4.8.4", "@socket.io/redis-adapter@8.3.0", "redis@5.10.0"}

// crossing is a scenario: what is published on machine A is heard on machine B.
type crossing struct {
	name        string
	topics      int
	subscribers int // of each topic
	publishers  int
	depth       int // publications in flight, of each publisher
}

var crossings = []crossing{
	{"1: one topic, 500 subscribers, 1 publication in flight", 1, 500, 1, 1},
	{"2: one topic, 500 subscribers, 16 publications in flight", 1, 500, 1, 16},
	{"3: 10,000 topics with a subscriber each, 64 publishers, 1 publication in flight each", 10_000, 1, 64, 1},
	{"7: one topic with a subscriber, 1 publication in flight; deliveries/s tell the latency", 1, 1, 1, 1},
}

// machines is a run of this benchmark.
type machines struct {
	redis   *redistest.Server
	folder  string // of the packages of npm
	dir     string
	peers   []string
	rounds  int
	length  time.Duration
	profile string
	counts  bool
	servers []*server // that run
}

// runMachines compares servers that publish on one machine what is heard on another.
func runMachines(args []string) error {
	m := &machines{}
	flags := flag.NewFlagSet("machines", flag.ExitOnError)
	flags.IntVar(&m.rounds, "rounds", 5, "rounds per server")
	flags.DurationVar(&m.length, "time", time.Second, "length of a round, after as long a warm-up")
	scenarios := flags.String("only", "1234567", "digits of the scenarios")
	peers := flags.String("peers", "expedite,expedite/2,centrifuge,socket.io",
		"servers; centrifuge quiet, alone and bare are others; NAME=FILE is that of an earlier build, "+
			"NAME@VARIABLE=VALUE has an environment")
	flags.StringVar(&m.profile, "profile", "", "folder for profiles of both machines by perf")
	flags.BoolVar(&m.counts, "counts", false, "print context switches, and reads and writes of Redis")
	flags.StringVar(&m.folder, "npm", "", "folder for packages of npm; empty is a temporary one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	m.peers = strings.Split(*peers, ",")
	runtime.LockOSThread()
	pinProcess(clientCore)
	return inBench(func(b *bench) error {
		m.dir = b.TempDir()
		if m.folder == "" {
			m.folder = m.dir
		}
		if err := m.installSocketIO(); err != nil {
			return err
		}
		m.redis = redistest.Start(b, "--client-output-buffer-limit", "pubsub 256mb 64mb 60")
		defer m.stop()
		began := time.Now()
		defer func() { fmt.Printf("\n%.0f s in all\n", time.Since(began).Seconds()) }()
		fmt.Printf("two machines with one Redis, %d B from A to B, %d rounds of %v, servers alternate\n",
			messageLen, m.rounds, m.length)
		for _, sc := range crossings {
			if strings.Contains(*scenarios, sc.name[:1]) {
				if err := m.compare(sc); err != nil {
					return err
				}
			}
		}
		if strings.ContainsRune(*scenarios, '4') {
			if err := m.unheard(); err != nil {
				return err
			}
		}
		if strings.ContainsRune(*scenarios, '5') {
			if err := m.manyTopics(); err != nil {
				return err
			}
		}
		if strings.ContainsRune(*scenarios, '6') {
			return m.redisAlone()
		}
		return nil
	})
}

// pinProcess binds all threads of this process, and those that come, to a core.
func pinProcess(core int) {
	pin(core)
	if core >= runtime.NumCPU() {
		return
	}
	var set unix.CPUSet
	set.Set(core)
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		var tid int
		if _, err := fmt.Sscan(t.Name(), &tid); err == nil {
			_ = unix.SchedSetaffinity(tid, &set)
		}
	}
}

// installSocketIO installs the packages, unless they are there.
func (m *machines) installSocketIO() error {
	if !slices.Contains(m.peers, "socket.io") {
		return nil
	}
	if err := os.MkdirAll(m.folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.folder, "server.mjs"), socketServer, 0o644); err != nil {
		return err
	}
	list := strings.Join(socketPackages, " ")
	mark := filepath.Join(m.folder, "installed")
	if b, err := os.ReadFile(mark); err == nil && string(b) == list {
		return nil
	}
	install := exec.Command("npm", append([]string{
		"install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", "--prefix", m.folder,
	}, socketPackages...)...)
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w\n%s", err, out)
	}
	return os.WriteFile(mark, []byte(list), 0o644)
}

// dialectOf returns what clients of a peer say.
func dialectOf(peer string) dialect {
	switch {
	case strings.HasPrefix(peer, "centrifuge"):
		return centrifugeDialect(strings.HasSuffix(peer, "quiet"))
	case peer == "socket.io":
		return socketDialect()
	case peer == "alone":
		return expediteDialect(-1)
	case peer == "bare":
		return expediteDialect(0)
	default:
		return expediteDialect(3)
	}
}

// startMachine starts one of the machines of a peer.
func (m *machines) startMachine(peer string) (s *server, err error) {
	url := "redis://" + m.redis.Addr()
	path, args := "node", []string{filepath.Join(m.folder, "server.mjs"), url}
	peer, env, _ := strings.Cut(peer, "@")
	peer, before, earlier := strings.Cut(peer, "=")
	switch {
	case peer == "socket.io":
	case earlier:
		path, args = before, []string{"machine", peer, url, m.dir}
	default:
		if path, err = os.Executable(); err != nil {
			return nil, err
		}
		args = []string{"machine", peer, url, m.dir}
	}
	pin(serverCore) // the child inherits it
	c, err := startProgram(path, strings.Fields(env), args...)
	pin(clientCore)
	if err != nil {
		return nil, err
	}
	s = &server{child: c}
	m.servers = append(m.servers, s)
	s.addr, err = c.address()
	return s, err
}

// startMachines starts A and B, which are one server if the peer is alone.
func (m *machines) startMachines(peer string) (a, b *server, err error) {
	a, err = m.startMachine(peer)
	switch {
	case err != nil:
	case peer == "alone":
		b = a
	default:
		b, err = m.startMachine(peer)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", peer, err)
	}
	return a, b, err
}

// stop stops the machines.
func (m *machines) stop() {
	for _, s := range m.servers {
		s.stop()
	}
	m.servers = nil
}

// families returns the CPU time of all processes of both machines.
func families(a, b *server) time.Duration {
	if a == b {
		return family(a)
	}
	return family(a) + family(b)
}

// family returns the CPU time of all processes of a machine.
func family(s *server) time.Duration {
	sum, _ := familyCPU(s.cmd.Process.Pid)
	return sum
}

// crossed is the result of a round.
type crossed struct{ perDelivery, redis, perSecond float64 } // microseconds of CPU

// compare measures a scenario with each peer in turn.
func (m *machines) compare(sc crossing) error {
	results := make(map[string][]crossed)
	for range m.rounds {
		for _, peer := range m.peers {
			r, err := m.cross(peer, sc)
			m.stop()
			if err != nil {
				return fmt.Errorf("%s: %s: %w", sc.name, peer, err)
			}
			results[peer] = append(results[peer], r)
		}
	}
	report(sc, m.peers, results)
	return nil
}

// cross measures a scenario once.
func (m *machines) cross(peer string, sc crossing) (r crossed, err error) {
	a, b, err := m.startMachines(peer)
	if err != nil {
		return r, err
	}
	c, err := newCrowd(dialectOf(peer))
	if err != nil {
		return r, err
	}
	defer c.close()
	if err := m.populate(c, sc, a, b); err != nil {
		return r, err
	}
	if err := c.begin(sc.depth); err != nil {
		return r, err
	}
	if err := c.run(m.length, nil); err != nil { // warm-up
		return r, err
	}
	defer m.record(a, b)()
	pid := m.redis.PID()
	var counted tally
	if m.counts {
		counted = m.tally(a, b)
	}
	redis, _ := processCPU(pid)
	used, start, before := families(a, b), time.Now(), c.deliveries
	if err := c.run(m.length, nil); err != nil {
		return r, err
	}
	used, took := families(a, b)-used, time.Since(start)
	redisNow, _ := processCPU(pid)
	deliveries := c.deliveries - before
	if m.counts {
		m.tally(a, b).print(peer, counted, deliveries/uint64(sc.subscribers))
	}
	return crossed{
		perDelivery: micro(used) / float64(deliveries),
		redis:       micro(redisNow-redis) / float64(deliveries) * float64(sc.subscribers),
		perSecond:   float64(deliveries) / took.Seconds(),
	}, c.settle()
}

func micro(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// populate connects the clients of a scenario: publishers to A, subscribers to B.
func (m *machines) populate(c *crowd, sc crossing, a, b *server) error {
	publishers, err := c.join(a.addr, sc.publishers, 0, nil)
	if err != nil {
		return err
	}
	if _, err := c.join(b.addr, sc.topics*sc.subscribers, 1, func(i int) int { return i / sc.subscribers }); err != nil {
		return err
	}
	if err := m.awaitChannels(c.dialect, sc.topics); err != nil {
		return err
	}
	return c.start(publishers, sc.topics, sc.subscribers)
}

// awaitChannels waits until Redis has subscriptions to a number of topics.
func (m *machines) awaitChannels(d dialect, n int) error {
	if d.own < 0 {
		return nil
	}
	n += d.own
	for end := time.Now().Add(patience); m.info("stats", "pubsub_channels") < n; {
		if time.Now().After(end) {
			return fmt.Errorf("there are %d channels in Redis, not %d", m.info("stats", "pubsub_channels"), n)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// record starts profiles of both machines, and returns what ends them.
func (m *machines) record(a, b *server) (end func()) {
	if m.profile == "" {
		return func() {}
	}
	var list []*exec.Cmd
	for name, s := range map[string]*server{"a": a, "b": b} {
		file := filepath.Join(m.profile, name+".perf")
		cmd := exec.Command("perf", "record", "-q", "-F", "499", "-g", "-o", file, "-p", fmt.Sprint(s.cmd.Process.Pid))
		if cmd.Start() == nil {
			list = append(list, cmd)
		}
	}
	return func() {
		for _, cmd := range list {
			_ = cmd.Process.Signal(os.Interrupt)
			_ = cmd.Wait()
		}
	}
}
