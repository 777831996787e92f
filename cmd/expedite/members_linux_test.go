package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/redistest"
)

// memberOutage is a row of the table of TestMembersInOutages.
type memberOutage struct {
	name string
	// quick is in `make test`, too.
	quick bool
	// dies tells that the last machine is killed in the outage.
	dies    bool
	prepare func(t *testing.T) memberFault
}

// memberFault is what goes wrong with Redis.
type memberFault struct {
	urls       string
	begin, end func()
	// at returns the servers that are used at the end.
	at func() []*redistest.Server
	// spares reports whether a topic must go on as ever in the outage. Nil: none must.
	spares func(topic string) bool
}

var memberOutages = []memberOutage{
	{"failed over", true, false, membersFailOver},
	{"cluster", false, false, membersCluster},
	{"one of two servers", false, false, membersOneOfTwo},
	{"one of two servers, and a machine", true, true, membersOneOfTwo},
	{"stopped for longer than the lease", false, false, membersStopped},
	{"emptied", false, false, membersEmptied},
}

// TestMembersInOutages: whatever happens to Redis, all machines know in the end who is in each topic, nobody is told of
// what has not happened, and nothing stays in Redis. Topics whose server is there go on meanwhile.
func TestMembersInOutages(t *testing.T) {
	for _, one := range memberOutages {
		if !one.quick && !*everyOutage {
			continue
		}
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			one.run(t)
		})
	}
}

func (o *memberOutage) run(t *testing.T) {
	fault := o.prepare(t)
	m := meet(t, 3, fault.urls)
	m.probe()
	for i := range m.machines {
		m.enter(i, fmt.Sprint("stays", i))
		m.enter(i, fmt.Sprint("goes", i))
		m.enter(i, "everywhere")
	}
	m.settle("before", nil)
	fault.begin()
	for i := range m.machines {
		m.enter(i, fmt.Sprint("comes", i))
		m.leave(i, fmt.Sprint("goes", i))
	}
	m.leave(0, "everywhere")
	if o.dies {
		killed := time.Now()
		m.kill()
		defer func() { t.Logf("the test went on for %v after the death of a machine", time.Since(killed)) }()
	}
	if fault.spares != nil {
		began := time.Now()
		m.settle("in the outage", fault.spares)
		t.Logf("in the outage, topics of the other server were right after %v", time.Since(began).Round(10*time.Millisecond))
	}
	began := time.Now()
	fault.end()
	m.settle("afterwards", nil)
	t.Logf("all was right %v after the outage", time.Since(began).Round(10*time.Millisecond))
	m.probe()
	m.leave(1, "everywhere")
	m.enter(0, "late")
	m.leave(0, "comes0")
	m.settle("later", nil)
	eventually(t, "Redis has the attendances of the machines that live, and no others", func() bool {
		leases, topics := 0, 0
		servers := fault.at()
		for _, s := range servers {
			n, _ := strconv.Atoi(s.Do("ZCARD", "expedite:presence:leases"))
			leases += n
			topics += len(strings.Fields(s.Do("KEYS", "expedite:presence:topics:*")))
		}
		return leases == m.attendances() && topics == leases
	})
	m.check()
}

// seat is a member in a topic.
type seat struct{ topic, user string }

// meeting is a fleet with members.
type meeting struct {
	t        *testing.T
	ctx      context.Context
	topics   []string
	urls     int // servers or clusters
	machines []*fleetMachine
	watchers []*watcher
	clients  map[string]*client // by machine and user
	users    []map[string]bool  // by machine
	probes   int
}

// memberTopics is how many topics there are: each server has some.
const memberTopics = 16

// meet starts machines, each with a watcher, who is a member, too.
func meet(t *testing.T, machines int, urls string) *meeting {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
	t.Cleanup(cancel)
	m := &meeting{t: t, ctx: ctx, clients: make(map[string]*client), urls: len(strings.Fields(urls))}
	for i := range memberTopics {
		m.topics = append(m.topics, fmt.Sprint(memberPrefix, i))
	}
	for i := range machines {
		one := &fleetMachine{
			name: fmt.Sprint("m", i), redisFile: filepath.Join(t.TempDir(), "redis"),
			server: &server{
				t: t, control: filepath.Join(t.TempDir(), "control"), output: &syncBuffer{}, ended: make(chan struct{}),
			},
		}
		one.use(urls)
		one.launch(nil, fleetConfig{
			Addr: fmt.Sprintf("127.81.%d.%d:0", os.Getpid()&0xff, i+1), Control: one.control, RedisFile: one.redisFile,
		})
		m.machines, m.users = append(m.machines, one), append(m.users, make(map[string]bool))
		w := &watcher{
			own: fmt.Sprint(watcherPrefix, i), said: make(chan string, 100),
			here: make(map[seat]bool), stale: make(map[string]bool),
		}
		w.client = m.enter(i, w.own)
		m.watchers = append(m.watchers, w)
		go w.watch(ctx) // ends with the connection
	}
	return m
}

// enter connects a user to a machine, in all topics.
func (m *meeting) enter(machine int, user string) *client {
	m.t.Helper()
	c := m.machines[machine].connect(m.ctx, "/"+memberPrefix+"?user="+user+"&topics="+strings.Join(m.topics, "+"))
	m.clients[fmt.Sprint(machine, user)] = c
	m.users[machine][user] = true
	return c
}

// leave ends the connection of a user to a machine.
func (m *meeting) leave(machine int, user string) {
	_ = m.clients[fmt.Sprint(machine, user)].CloseNow()
	delete(m.users[machine], user)
}

// kill kills the last machine.
func (m *meeting) kill() {
	last := len(m.machines) - 1
	m.machines[last].signal(syscall.SIGKILL)
	m.machines, m.users, m.watchers = m.machines[:last], m.users[:last], m.watchers[:last]
}

// attendances returns how many there should be.
func (m *meeting) attendances() int { return m.urls * len(m.machines) }

// settle waits until all machines know who is in the topics, and all watchers were told. Nil is all topics.
func (m *meeting) settle(when string, of func(topic string) bool) {
	m.t.Helper()
	want := m.everybody()
	var topics []string
	for _, topic := range m.topics {
		if of == nil || of(topic) {
			topics = append(topics, topic)
		}
	}
	var wrong []string
	defer func() {
		if len(wrong) > 0 {
			m.t.Logf("%s: want %q; wrong is %q", when, want, wrong)
		}
	}()
	eventually(m.t, when+", all machines know who is in "+strings.Join(topics, " "), func() bool {
		wrong = nil
		for _, w := range m.watchers {
			for _, topic := range topics {
				text := w.ask(m.ctx, topic)
				if told := w.compare(topic, want); text != strings.Join(want, ",") || told != "" {
					wrong = append(wrong, fmt.Sprintf("%s, %s: %s; by the events: %s", w.own, topic, text, told))
				}
			}
		}
		return len(wrong) == 0
	})
}

// probe waits until all watchers hear on all topics that somebody comes. What has happened before was told by then.
func (m *meeting) probe() {
	m.t.Helper()
	for {
		m.probes++
		user := fmt.Sprint("probe", m.probes)
		m.enter(0, user)
		for until := time.Now().Add(probeTime); time.Now().Before(until); <-time.After(10 * time.Millisecond) {
			if m.all(func(w *watcher, topic string) bool { return w.here[seat{topic, user}] }) {
				for _, w := range m.watchers {
					w.calibrate(m.topics, m.everybody())
				}
				return
			}
		}
		if m.ctx.Err() != nil {
			m.t.Fatal("watchers do not hear who comes")
		}
	}
}

// probeTime is the time after which another one is sent.
const probeTime = 5 * time.Second

// all reports whether something is true of each watcher and topic.
func (m *meeting) all(ok func(w *watcher, topic string) bool) bool {
	for _, w := range m.watchers {
		w.mu.Lock()
		for _, topic := range m.topics {
			if !ok(w, topic) {
				w.mu.Unlock()
				return false
			}
		}
		w.mu.Unlock()
	}
	return true
}

// everybody returns who is there.
func (m *meeting) everybody() []string {
	all := make(map[string]bool)
	for _, users := range m.users {
		maps.Copy(all, users)
	}
	return slices.Sorted(maps.Keys(all))
}

// check reports what watchers were told that was not true.
func (m *meeting) check() {
	for _, w := range m.watchers {
		w.mu.Lock()
		for _, one := range w.faults {
			m.t.Errorf("%s: %s", w.own, one)
		}
		m.t.Logf("%s: %d events, %d gaps", w.own, w.events, w.gaps)
		w.mu.Unlock()
	}
}

// watcher is a client that compares who comes and goes with who is there. Of watchers, it does not know.
type watcher struct {
	*client
	own  string
	said chan string // answers

	mu           sync.Mutex
	here         map[seat]bool   // by the events
	stale        map[string]bool // topics of which events were missed
	faults       []string
	events, gaps int
}

const watcherPrefix = "watcher"

// watch reads until the connection ends.
func (w *watcher) watch(ctx context.Context) {
	defer close(w.said)
	for {
		_, b, err := w.Read(ctx)
		if err != nil {
			return
		}
		switch words := strings.Fields(string(b)); {
		case len(words) < 3:
		case words[0] == "members":
			w.said <- strings.Join(words[1:], " ")
		default:
			w.take(words[0], seat{words[1], words[2]})
		}
	}
}

// take takes an event.
func (w *watcher) take(kind string, who seat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case kind == "gap":
		w.gaps++
		w.stale[who.topic] = true
		return
	case strings.HasPrefix(who.user, watcherPrefix):
		return
	}
	w.events++
	if w.here[who] == (kind == "join") && !w.stale[who.topic] {
		w.faults = append(w.faults, fmt.Sprint(kind, " ", who))
	}
	if kind == "join" {
		w.here[who] = true
	} else {
		delete(w.here, who)
	}
}

// ask asks who is in a topic.
func (w *watcher) ask(ctx context.Context, topic string) string {
	if err := w.Write(ctx, websocket.MessageText, []byte(topic)); err != nil {
		return err.Error()
	}
	for text := range w.said {
		if of, users, _ := strings.Cut(text, " "); of == topic {
			return users
		}
	}
	return "the connection has ended"
}

// compare returns what is wrong by the events, unless some were missed.
func (w *watcher) compare(topic string, want []string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stale[topic] {
		return ""
	}
	var wrong []string
	for who := range w.here {
		if who.topic == topic && !slices.Contains(want, who.user) {
			wrong = append(wrong, who.user+" has not left")
		}
	}
	for _, user := range want {
		if !w.here[seat{topic, user}] && !strings.HasPrefix(user, watcherPrefix) {
			wrong = append(wrong, user+" has not joined")
		}
	}
	return strings.Join(wrong, ", ")
}

// calibrate sets who is there.
func (w *watcher) calibrate(topics, users []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.here)
	clear(w.stale)
	for _, topic := range topics {
		for _, user := range users {
			if !strings.HasPrefix(user, watcherPrefix) {
				w.here[seat{topic, user}] = true
			}
		}
	}
}

// membersFailOver: Sentinel promotes the replica.
func membersFailOver(t *testing.T) memberFault {
	s := redistest.StartSentinel(t)
	return memberFault{
		urls: s.URL(), begin: s.Primary.Kill, end: func() {},
		at: func() []*redistest.Server { return []*redistest.Server{s.Replica} },
	}
}

// membersCluster: a server of a cluster is killed, and its replica takes its place.
func membersCluster(t *testing.T) memberFault {
	c := redistest.StartCluster(t)
	replica := c.AddReplica(t, c.Nodes[0])
	return memberFault{
		urls: c.URL(), begin: c.Nodes[0].Kill, end: func() {},
		at: func() []*redistest.Server { return []*redistest.Server{replica, c.Nodes[1], c.Nodes[2]} },
	}
}

// membersOneOfTwo: one of two servers is killed, and comes back empty.
func membersOneOfTwo(t *testing.T) memberFault {
	up, down := redistest.Start(t), redistest.Start(t)
	spared := make(map[string]bool)
	return memberFault{
		urls: up.URL() + "\n" + down.URL(),
		begin: func() {
			for i := range memberTopics {
				topic := fmt.Sprint(memberPrefix, i)
				spared[topic] = up.Do("EXISTS", "expedite:presence:{expedite:0:"+topic+"}:m") == "1"
			}
			t.Logf("the server that stays has %v", spared)
			down.Kill()
		},
		end:    down.Restart,
		at:     func() []*redistest.Server { return []*redistest.Server{up, down} },
		spares: func(topic string) bool { return spared[topic] },
	}
}

// membersStopped: Redis keeps all it knows, and all leases run out.
func membersStopped(t *testing.T) memberFault {
	s := redistest.Start(t)
	return memberFault{
		urls: s.URL(), begin: s.Stop, end: func() {
			<-time.After(3 * memberLease)
			s.Continue()
		},
		at: func() []*redistest.Server { return []*redistest.Server{s} },
	}
}

// membersEmptied: Redis loses all it knows, and no connection.
func membersEmptied(t *testing.T) memberFault {
	s := redistest.Start(t)
	return memberFault{
		urls: s.URL(), begin: func() { s.Do("FLUSHALL") }, end: func() {},
		at: func() []*redistest.Server { return []*redistest.Server{s} },
	}
}
