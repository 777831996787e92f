package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bench is what redistest needs of a test.
type bench struct {
	testing.TB
	ends []func()
}

// inBench runs f and then what was registered with Cleanup. A call of Fatal is an error.
func inBench(f func(b *bench) error) (err error) {
	b := &bench{}
	defer func() {
		for _, end := range slices.Backward(b.ends) {
			end()
		}
		if p := recover(); p != nil {
			fault, ok := p.(benchFault)
			if !ok {
				panic(p)
			}
			err = fault
		}
	}()
	return f(b)
}

type benchFault string

func (f benchFault) Error() string { return string(f) }

func (b *bench) Helper()                         {}
func (b *bench) Cleanup(f func())                { b.ends = append(b.ends, f) }
func (b *bench) Skip(args ...any)                { b.Fatal(args...) }
func (b *bench) Fatal(args ...any)               { panic(benchFault(fmt.Sprint(args...))) }
func (b *bench) Fatalf(text string, args ...any) { panic(benchFault(fmt.Sprintf(text, args...))) }

// TempDir returns a folder that ends with f.
func (b *bench) TempDir() string {
	dir, err := os.MkdirTemp("", "machines")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// report prints the results of a scenario. Ratios compare with the first peer.
func report(sc crossing, peers []string, results map[string][]crossed) {
	fmt.Printf("\n%s\n", sc.name)
	fmt.Printf("  %-16s  %20s  %16s  %22s  %12s\n", "CPU in us", "servers per delivery", "times ours",
		"Redis per publication", "deliveries/s")
	fmt.Printf("  %-16s  %9s  %9s  %7s  %7s  %10s  %10s  %12s\n", "", "least", "median", "least", "median", "least",
		"median", "median")
	ours := results[peers[0]]
	cost := func(r crossed) float64 { return r.perDelivery }
	redis := func(r crossed) float64 { return r.redis }
	for _, peer := range peers {
		list := results[peer]
		fmt.Printf("  %-16s  %9.3f  %9.3f  %7.2f  %7.2f  %10.2f  %10.2f  %12.0f\n", peer,
			least(list, cost), middle(list, cost),
			least(list, cost)/least(ours, cost), middle(list, cost)/middle(ours, cost),
			least(list, redis), middle(list, redis), middle(list, func(r crossed) float64 { return r.perSecond }))
	}
}

func values(list []crossed, of func(crossed) float64) (v []float64) {
	for _, r := range list {
		v = append(v, of(r))
	}
	return v
}

func least(list []crossed, of func(crossed) float64) float64  { return slices.Min(values(list, of)) }
func middle(list []crossed, of func(crossed) float64) float64 { return median(values(list, of)) }

// info returns a number of INFO of Redis.
func (m *machines) info(section, name string) int {
	for line := range strings.Lines(m.redis.Do("INFO", section)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, _ := strconv.Atoi(v)
			return n
		}
	}
	return 0
}

// commands returns how often Redis has run any command but INFO, and those that publish.
func (m *machines) commands() (all, publish int) {
	for line := range strings.Lines(m.redis.Do("INFO", "commandstats")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), ":calls=")
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(calls)
		if err != nil || name == "cmdstat_info" {
			continue
		}
		all += n
		if strings.HasSuffix(name, "publish") {
			publish += n
		}
	}
	return all, publish
}

// unheard publishes on A what nobody on B has subscribed to.
func (m *machines) unheard() error {
	fmt.Printf("\n4: a publication whose only subscriber is on its own machine\n")
	fmt.Printf("  %-16s  %26s  %22s  %18s\n", "", "Redis commands (publish)", "Redis us/publication", "B us/publication")
	for _, peer := range m.peers {
		err := m.unheardBy(peer)
		m.stop()
		if err != nil {
			return fmt.Errorf("unheard: %s: %w", peer, err)
		}
	}
	return nil
}

func (m *machines) unheardBy(peer string) error {
	a, b, err := m.startMachines(peer)
	if err != nil {
		return err
	}
	c, err := newCrowd(dialectOf(peer))
	if err != nil {
		return err
	}
	defer c.close()
	if err := m.populate(c, crossing{topics: 1, subscribers: 1, publishers: 1}, a, a); err != nil {
		return err
	}
	if err := c.begin(1); err != nil {
		return err
	}
	if err := c.run(m.length, nil); err != nil {
		return err
	}
	all, publish := m.commands()
	redis, _ := processCPU(m.redis.PID())
	other, before := family(b), c.publication
	if err := c.run(m.length, nil); err != nil {
		return err
	}
	if err := c.settle(); err != nil {
		return err
	}
	n := float64(c.publication - before)
	redisNow, _ := processCPU(m.redis.PID())
	other = family(b) - other
	time.Sleep(100 * time.Millisecond) // the last publications reach Redis
	allNow, publishNow := m.commands()
	fmt.Printf("  %-16s  %17.3f (%6.3f)  %22.2f  %18.3f\n", peer, float64(allNow-all)/n, float64(publishNow-publish)/n,
		micro(redisNow-redis)/n, micro(other)/n)
	return nil
}

// manyTopics subscribes to 100,000 topics on B, publishes on each, and restarts Redis.
func (m *machines) manyTopics() error {
	fmt.Printf("\n5: 100,000 topics with a subscriber each, 100 per connection\n")
	fmt.Printf("  %-16s  %24s  %24s  %34s\n", "", "bytes per topic, B", "bytes per topic, A",
		"all subscribed again after a restart")
	for _, peer := range m.peers {
		if peer == "socket.io" {
			continue // it does not subscribe by topic
		}
		err := m.manyTopicsOf(peer)
		m.stop()
		if err != nil {
			return fmt.Errorf("many topics: %s: %w", peer, err)
		}
	}
	return nil
}

func (m *machines) manyTopicsOf(peer string) error {
	const topics, each, publishers, depth = 100_000, 100, 10, 16
	a, b, err := m.startMachines(peer)
	if err != nil {
		return err
	}
	c, err := newCrowd(dialectOf(peer))
	if err != nil {
		return err
	}
	defer c.close()
	from, err := c.join(a.addr, publishers, 0, nil)
	if err != nil {
		return err
	}
	to, err := c.join(b.addr, topics/each, 0, nil)
	if err != nil {
		return err
	}
	emptyA, emptyB := resident(a), resident(b)
	for i, s := range to {
		if err := c.subscribe(s, i*each, each); err != nil {
			return err
		}
	}
	if err := m.awaitChannels(c.dialect, topics); err != nil {
		return err
	}
	perTopic := float64(resident(b)-emptyB) / topics
	if err := c.start(from, topics, 1); err != nil {
		return err
	}
	if err := c.round(topics, depth); err != nil {
		return err
	}
	perPublished := float64(resident(a)-emptyA) / topics
	m.redis.Kill()
	killed := time.Now()
	m.redis.Restart()
	back := time.Now()
	if err := m.awaitChannels(c.dialect, topics); err != nil {
		return err
	}
	again, sinceKill := time.Since(back), time.Since(killed)
	if err := c.round(topics, depth); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}
	fmt.Printf("  %-16s  %24.0f  %24.0f  %10.2f s (%.2f s after the kill)\n", peer, perTopic, perPublished,
		again.Seconds(), sinceKill.Seconds())
	return nil
}

// round publishes at least once on each of n topics, and checks that all subscribers have heard everything.
func (c *crowd) round(n, depth int) error {
	if err := c.begin(depth); err != nil {
		return err
	}
	whole := c.publication + uint64(n)
	if err := c.run(patience, func() bool { return c.publication >= whole }); err != nil {
		return err
	}
	return c.settle()
}

// resident returns the resident memory of a machine, after a collection in each of its processes.
func resident(s *server) (bytes int64) {
	pids := familyPIDs(s.cmd.Process.Pid)
	for range 2 { // the first one also ends what finalizers hold
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGUSR2)
		}
		time.Sleep(500 * time.Millisecond)
	}
	for _, pid := range pids {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		f := strings.Fields(string(b))
		if len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			bytes += pages * int64(os.Getpagesize())
		}
	}
	return bytes
}
