package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/redistest"
)

// everyOutage makes TestOutages go through the whole table.
var everyOutage = flag.Bool("outages", false, "go through every outage of the table, in their full length")

// outage is a row of the table.
type outage struct {
	name string
	// quick is in `make test`, too.
	quick    bool
	machines int
	// deaf are the machines that must notice it: the first ones, or the last one if it is -1.
	deaf int
	// hold is how long it lasts after that.
	hold time.Duration
	// lossless faults lose nothing.
	lossless bool
	prepare  func(t *testing.T) fault
}

// at returns the same URL for all machines.
func at(url string) func(int) string { return func(int) string { return url } }

// outages is the table.
var outages = []outage{
	{"killed", true, 2, 2, time.Second, false, killed},
	{"failed over", true, 3, 3, 0, false, failedOver},
	{"cluster", false, 3, 3, 0, false, clusterFails},
	{"emptied", false, 2, 0, 0, true, emptied},
	{"stopped", false, 3, 3, time.Second, false, stopped},
	{"stopped for long", false, 2, 2, 30 * time.Second, false, stopped},
	{"read-only", false, 2, 2, time.Second, false, readOnly},
	{"full", false, 2, 0, time.Second, true, full},
	{"slow", false, 2, 0, 5 * time.Second, true, slow},
	{"split and cut", true, 2, 0, 5 * time.Second, false, splitAndCut},
	{"one machine silent", true, 3, -1, time.Second, false, silentTo},
	{"one machine refused", false, 3, -1, 2 * time.Second, false, refusedTo},
	{"another password", false, 2, 2, time.Second, false, anotherPassword},
	{"one of two servers", false, 2, 2, time.Second, false, oneOfTwo},
	{"link down", false, 2, -1, 2 * time.Second, false, linkDown},
}

// TestOutages checks what docs/scale-out.md promises while Redis, or the way to it, fails: clients stay connected, what a
// machine's own clients publish is heard there, new clients come in; afterwards all machines hear each other again.
// Throughout, nothing is heard twice or in the wrong order, and everything that is missing is told.
func TestOutages(t *testing.T) {
	for _, one := range outages {
		if !one.quick && !*everyOutage {
			continue
		}
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			one.run(t)
		})
	}
}

func (o *outage) run(t *testing.T) {
	fault := o.prepare(t)
	f := startFleet(t, o.machines, fault)
	stop := f.traffic()
	fault.begin(f)
	concerned := f.machines[:max(o.deaf, 0)]
	if o.deaf < 0 {
		concerned = f.machines[len(f.machines)-1:]
	}
	if fault.end != nil {
		for _, m := range concerned {
			m.await("it tells that it is alone", func(st control.Status) bool { return !st.Backplane.Up && st.Backplane.Cause != "" })
		}
	}
	f.wantLocal()
	if o.hold > 0 {
		<-time.After(o.hold)
	}
	f.wantLocal()
	began, since := time.Now(), f.marks()
	if fault.end != nil {
		fault.end(f)
	}
	eventually(t, "all machines hear each other again", func() bool {
		return f.all(func(h *hearer, from *fleetMachine, topic string) bool {
			return h.heard(topic, from.name) > since[channel{topic, from.name}]
		})
	})
	took := time.Since(began)
	for _, m := range f.machines {
		m.await("it is connected again", func(st control.Status) bool { return st.Backplane.Up })
	}
	stop()
	f.wantComplete()
	missing, missingKept, sent := 0, 0, 0
	for _, m := range f.machines {
		n, kept := m.in.check(t)
		missing += n
		missingKept += kept
		for _, topic := range f.topics {
			sent += m.last(topic)
		}
	}
	if fault.check != nil {
		fault.check(f)
	}
	if o.lossless && missing > 0 {
		t.Errorf("%d messages are missing", missing)
	}
	if !o.forgets() && missingKept > 0 {
		t.Errorf("%d messages are missing on topics with a history", missingKept)
	}
	t.Logf("%d messages to %d clients; told to be missing: %d, and %d on topics with a history; heard again after %v",
		sent, len(f.machines), missing, missingKept, took.Round(10*time.Millisecond))
}

// forgets reports whether Redis may not have the histories of topics any more.
func (o *outage) forgets() bool {
	return slices.Contains([]string{"killed", "failed over", "cluster", "emptied", "read-only"}, o.name)
}

// wantLocal checks that clients hear their own machine, and that a new one comes in.
func (f *fleet) wantLocal() {
	f.t.Helper()
	since := f.marks()
	eventually(f.t, "clients hear their own machine", func() bool {
		return f.all(func(h *hearer, from *fleetMachine, topic string) bool {
			return h.own != from.name || h.heard(topic, from.name) > since[channel{topic, from.name}]
		})
	})
	for _, m := range f.machines {
		_ = m.connect(f.ctx, "/").CloseNow()
	}
}

// wantComplete waits until the last messages are heard everywhere.
func (f *fleet) wantComplete() {
	f.t.Helper()
	f.publish()
	eventually(f.t, "everybody has heard the last messages", func() bool {
		return f.all(func(h *hearer, from *fleetMachine, topic string) bool {
			return h.heard(topic, from.name) == from.last(topic)
		})
	})
}

func killed(t *testing.T) fault {
	s := redistest.Start(t)
	return fault{url: at(s.URL()), begin: func(*fleet) { s.Kill() }, end: func(*fleet) { s.Restart() }}
}

func failedOver(t *testing.T) fault {
	s := redistest.StartSentinel(t)
	return fault{url: at(s.URL()), begin: func(*fleet) {
		s.Primary.Kill()
		redistest.Until(t, "the replica has replaced it", func() bool {
			return strings.Contains(s.Replica.Do("INFO", "replication"), "role:master")
		})
	}}
}

// clusterFails: a server is killed, and slots move without their keys, so histories begin anew.
func clusterFails(t *testing.T) fault {
	c := redistest.StartCluster(t)
	replica := c.AddReplica(t, c.Nodes[0])
	return fault{url: at(c.URL()), begin: func(f *fleet) {
		c.Nodes[0].Kill()
		redistest.Until(t, "the replica has replaced it", func() bool {
			return strings.Contains(replica.Do("INFO", "replication"), "role:master")
		})
		c.Nodes[0] = replica
		for i, topic := range f.topics {
			c.Move("expedite:0:"+topic, i%3)
		}
	}}
}

func emptied(t *testing.T) fault {
	s := redistest.Start(t)
	return fault{url: at(s.URL()), begin: func(*fleet) {
		s.Do("FLUSHALL")
		s.Do("SCRIPT", "FLUSH")
	}}
}

func stopped(t *testing.T) fault {
	s := redistest.Start(t)
	return fault{url: at(s.URL()), begin: func(*fleet) { s.Stop() }, end: func(*fleet) { s.Continue() }}
}

// readOnly: the server becomes the replica of another one.
func readOnly(t *testing.T) fault {
	s, other := redistest.Start(t), redistest.Start(t)
	host, port, _ := strings.Cut(other.Addr(), ":")
	return fault{
		url: at(s.URL()), begin: func(*fleet) { s.Do("REPLICAOF", host, port) },
		end: func(*fleet) { s.Do("REPLICAOF", "NO", "ONE") },
	}
}

// full: Redis takes no writes, and publications all the same.
func full(t *testing.T) fault {
	s := redistest.Start(t, "--maxmemory-policy", "noeviction")
	return fault{
		url: at(s.URL()), begin: func(*fleet) { s.Do("CONFIG", "SET", "maxmemory", "1") },
		end: func(*fleet) { s.Do("CONFIG", "SET", "maxmemory", "0") },
	}
}

// startProxies starts a proxy for each machine. The first ones are passed by.
func startProxies(t *testing.T, of *redistest.Server, machines, piece int) (url func(int) string, all []*redistest.Proxy) {
	for range machines {
		all = append(all, redistest.StartProxy(t, of.Addr(), piece))
	}
	return func(i int) string { return "redis://" + all[i].Addr }, all
}

func slow(t *testing.T) fault {
	url, all := startProxies(t, redistest.Start(t), 2, 64<<10)
	delay := func(d time.Duration) func(*fleet) {
		return func(*fleet) {
			for _, p := range all {
				p.Delay(d)
			}
		}
	}
	return fault{url: url, begin: delay(200 * time.Millisecond), end: delay(0)}
}

func splitAndCut(t *testing.T) fault {
	url, all := startProxies(t, redistest.Start(t), 2, 7)
	cut := func(bytes int) func(*fleet) {
		return func(*fleet) {
			for _, p := range all {
				p.CutAfter(bytes)
			}
		}
	}
	return fault{url: url, begin: cut(20_000), end: cut(0)}
}

// silentTo: nothing passes between Redis and the last machine, and nobody tells.
func silentTo(t *testing.T) fault {
	url, all := startProxies(t, redistest.Start(t), 3, 64<<10)
	return fault{url: url, begin: func(*fleet) { all[2].Freeze() }, end: func(*fleet) { all[2].Thaw() }}
}

func refusedTo(t *testing.T) fault {
	url, all := startProxies(t, redistest.Start(t), 3, 64<<10)
	return fault{url: url, begin: func(*fleet) { all[2].Refuse(true) }, end: func(*fleet) { all[2].Refuse(false) }}
}

// anotherPassword: it changes, the connections are lost, and then the machines are told.
func anotherPassword(t *testing.T) fault {
	s := redistest.Start(t)
	old := s.User("machines")
	return fault{
		url: at(old),
		begin: func(*fleet) {
			s.Do("ACL", "SETUSER", "machines", "resetpass", ">other")
			s.Do("CLIENT", "KILL", "USER", "machines")
		},
		end: func(f *fleet) {
			for _, m := range f.machines {
				m.use(strings.Replace(old, ":pw@", ":other@", 1))
				if out, err := m.expedite("reload", "--canary", "0s"); err != nil {
					t.Errorf("reload: %v\n%s", err, out)
				}
			}
		},
	}
}

// oneOfTwo: the topics of the other server are not concerned.
func oneOfTwo(t *testing.T) fault {
	one, two := redistest.Start(t), redistest.Start(t)
	var spared []string
	return fault{
		url: at(one.URL() + "\n" + two.URL()),
		begin: func(f *fleet) {
			for _, topic := range f.topics {
				if strings.HasSuffix(one.Do("PUBSUB", "NUMSUB", "expedite:0:"+topic), "\n2") {
					spared = append(spared, topic)
				}
			}
			two.Kill()
		},
		end: func(f *fleet) {
			since := f.marks()
			eventually(t, "the topics of the other server are heard", func() bool {
				return f.all(func(h *hearer, from *fleetMachine, topic string) bool {
					return !slices.Contains(spared, topic) || h.heard(topic, from.name) > since[channel{topic, from.name}]
				})
			})
			two.Restart()
		},
		check: func(f *fleet) {
			t.Logf("topics of the other server: %q", spared)
			for _, m := range f.machines {
				for _, topic := range spared {
					if n := m.in.holes[topic]; n > 0 {
						t.Errorf("client of %s: %d messages on %s are missing, whose server was there", m.name, n, topic)
					}
				}
			}
		},
	}
}

// linkDown: the second machine is in a network namespace of its own, whose link to the host goes down.
func linkDown(t *testing.T) fault {
	name := fmt.Sprintf("expedite%d", os.Getpid())
	host := fmt.Sprintf("10.213.%d.1", os.Getpid()&0xff)
	ip := func(must bool, args string) {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil && must {
			t.Skipf("no network namespaces here: ip %s: %v: %s", args, err, out)
		}
	}
	ip(true, "netns add "+name)
	t.Cleanup(func() { ip(false, "netns del "+name) })
	link := fmt.Sprintf("exp%d", os.Getpid())
	ip(true, "link add "+link+" type veth peer name host netns "+name)
	ip(true, "addr add "+host+"/30 dev "+link)
	ip(true, "link set "+link+" up")
	ip(true, "-n "+name+" addr add "+strings.TrimSuffix(host, "1")+"2/30 dev host")
	ip(true, "-n "+name+" link set host up")
	ip(true, "-n "+name+" link set lo up")
	s := redistest.Start(t, "--bind", "127.0.0.1", host, "--protected-mode", "no")
	_, port, _ := strings.Cut(s.Addr(), ":")
	return fault{
		url: func(machine int) string { return []string{s.URL(), "redis://" + host + ":" + port}[machine] },
		by: func(machine int) []string {
			return [][]string{nil, {"ip", "netns", "exec", name}}[machine]
		},
		begin: func(*fleet) { ip(true, "link set "+link+" down") },
		end:   func(*fleet) { ip(true, "link set "+link+" up") },
	}
}
