package doctor

import (
	"fmt"
	"strings"

	"github.com/expedite-go/expedite/internal/human"
)

const (
	// After a network or a load balancer has failed, all clients return within half a minute, and accepting may pause
	// for up to a tenth of a second. Meanwhile n/300 wait in the queue.
	stormPart  = 300
	leastQueue = 128
	mostQueue  = 1<<16 - 1 // Go uses no more on older kernels

	fullPercent = 80 // of a table, from which it counts as almost full
)

// tracking compares the firewall's table of connections with the connections.
func (e *exam) tracking() {
	const name = limitConntrack
	most, ok := e.number(conntrackMax)
	if !ok {
		e.add(Finding{
			Name: name, Level: LevelOK, Value: "none",
			Why: "no connection tracking was detected whose table could fill up",
		})
		return
	}
	now := e.tracked()
	need := e.n + now
	f := Finding{Name: name, Value: fmt.Sprintf("%d of %d", now, most), Want: fmt.Sprintf("%d in all", need)}
	f.Why = fmt.Sprintf("when the table is full, packets of new clients are dropped; %s are added to the %s "+
		"existing entries",
		e.few(), human.Number(now))
	switch {
	case now == 0:
		f.Level, f.Value, f.Want = LevelOK, fmt.Sprintf("nothing tracked, at most %d", most), ""
		f.Why = "if a firewall or Docker begins to track connections, the table limits their number"
		if most < e.n {
			f.Level, f.Want = LevelInfo, fmt.Sprintf("%d if that happens", e.n)
		}
	default:
		f.Level = e.short(most < need)
		if f.Level == LevelOK && now >= most/100*fullPercent {
			f.Level = LevelWarn
		}
	}
	if now > 0 && f.Level != LevelOK {
		e.set(&f, conntrackMax, decimal(max(need, most+most/4)), "entries in the table of tracked connections: "+f.Why)
	}
	e.add(f)
}

// links reports the bandwidth for each connection.
func (e *exam) links() {
	if len(e.Links) == 0 {
		e.unreadable("links", "no network interface was detected that is up")
		return
	}
	for _, l := range e.Links {
		f := Finding{Name: "link-" + l.Name, Level: LevelOK, Value: "up, speed unknown"}
		f.Why = "the bandwidth of the interface is unknown; virtual ones often do not report it"
		if l.Mbit > 0 {
			f.Value = fmt.Sprintf("up, %d Mbit/s", l.Mbit)
			f.Why = fmt.Sprintf("that is %s per second for each of %s", human.Bytes(l.Mbit*1e6/8/max(e.n, 1)), e.few())
		}
		e.add(f)
	}
}

// portRange checks whether an outgoing connection may take a port that the server listens on.
func (e *exam) portRange() {
	n := e.numbers(portRange)
	if len(n) != 2 {
		e.unreadable("port-range", portRange+" is the range of ports for outgoing connections")
		return
	}
	f := Finding{Name: "port-range", Level: LevelOK, Value: fmt.Sprintf("%d-%d", n[0], n[1])}
	f.Why = "outgoing connections take their ports from this range, and no port to listen on is in it without " +
		"being reserved"
	var bad []string
	for _, p := range e.want.Ports {
		if int64(p) >= n[0] && int64(p) <= n[1] && !e.isReserved(p) {
			bad = append(bad, fmt.Sprint(p))
		}
	}
	if len(bad) > 0 {
		f.Level, f.Want = LevelWarn, strings.Join(bad, " and ")+" outside or reserved"
		f.Why = fmt.Sprintf("an outgoing connection may take port %s while the server is down; the next start then "+
			"fails with \"address already in use\"", strings.Join(bad, " or "))
		list := strings.Join(bad, ",")
		if old := strings.TrimSpace(e.Sysctl[reservedPorts]); old != "" {
			list = old + "," + list
		}
		e.set(&f, reservedPorts, list, "ports that no outgoing connection takes")
	}
	e.add(f)
}

// outgoing counts the ports for connections that are opened on this machine: by a load balancer, a load generator, or
// to Redis.
func (e *exam) outgoing() {
	n := e.numbers(portRange)
	if len(n) != 2 {
		return // portRange has reported it
	}
	ports := n[1] - n[0] + 1
	e.add(Finding{
		Name: "outgoing-ports", Level: LevelOK, Value: decimal(ports),
		Why: fmt.Sprintf("a load balancer or load generator on this machine can open at most %s connections from "+
			"each of its addresses to one address of Expedite; clients on other machines are not affected", human.Number(ports)),
	})
}

// privileged checks whether this user may listen on the ports.
func (e *exam) privileged() {
	first, ok := e.number(freePorts)
	if !ok {
		first = 1024
	}
	f := Finding{Name: "privileged-ports", Level: LevelOK, Value: fmt.Sprintf("below %d", first)}
	f.Why = "this user may listen on the ports"
	low := int64(0)
	for _, p := range e.want.Ports {
		if p > 0 && int64(p) < first {
			low = int64(p)
		}
	}
	if low > 0 && e.User.ID != 0 && e.User.ID != -1 && e.User.Capabilities&(1<<capNetBindService) == 0 {
		f.Level, f.Want = LevelError, fmt.Sprintf("at most %d", low)
		f.Why = fmt.Sprintf("user %d may not listen on port %d", e.User.ID, low)
		if e.Container == "" {
			f.Mend = "AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit"
		}
		e.set(&f, freePorts, decimal(low), "the lowest port that any user may listen on")
	}
	e.add(f)
}

// queue returns how many clients may wait to be accepted.
func (e *exam) queue() int64 { return min(max(roundUp(e.n/stormPart, 128), leastQueue), mostQueue) }

// listenQueue compares the queue of a listening socket with the clients that wait in it when all of them return.
func (e *exam) listenQueue() {
	have, ok := e.number(somaxconn)
	if !ok {
		e.unreadable("listen-queue", somaxconn+" limits the clients that wait to be accepted")
		return
	}
	want := e.queue()
	f := Finding{Name: "listen-queue", Level: LevelOK, Value: decimal(have), Want: decimal(want)}
	f.Why = fmt.Sprintf("if %s reconnect within 30 s and accepting pauses for 0.1 s, %s wait; those that do not fit "+
		"into the queue retry after a second, or give up", e.few(), human.Number(e.n/stormPart))
	if have < want {
		f.Level = LevelWarn
		e.set(&f, somaxconn, decimal(want), "clients that wait to be accepted: "+f.Why)
	}
	e.add(f)
}

// synQueue checks the limit of unfinished TCP handshakes. With SYN cookies none is lost.
func (e *exam) synQueue() {
	have, ok := e.number(synBacklog)
	if !ok {
		e.unreadable("syn-queue", synBacklog+" limits the clients with an unfinished TCP handshake")
		return
	}
	want := e.queue()
	f := Finding{Name: "syn-queue", Level: LevelOK, Value: decimal(have)}
	f.Why = "clients with an unfinished TCP handshake; beyond that, SYN cookies replace the queue"
	if cookies, ok := e.number(synCookies); ok && cookies == 0 && have < want {
		f.Level, f.Want = LevelWarn, decimal(want)
		f.Why = "clients with an unfinished TCP handshake; beyond that they are dropped, because SYN cookies are off"
		e.set(&f, synBacklog, decimal(want), f.Why)
	}
	e.add(f)
}

func (e *exam) cookies() {
	mode, ok := e.number(synCookies)
	if !ok {
		e.unreadable("syn-cookies", synCookies+" keeps a server reachable during a flood of handshakes")
		return
	}
	f := Finding{Name: "syn-cookies", Level: LevelOK, Value: decimal(mode), Want: "1"}
	f.Why = "a flood of handshakes, or of reconnecting clients, does not lock others out"
	if mode == 0 {
		f.Level, f.Why = LevelWarn, "a flood of handshakes, or of reconnecting clients, locks others out"
		e.set(&f, synCookies, "1", "handshakes that do not fit into the queue are answered, too")
	}
	e.add(f)
}

func (e *exam) migration() {
	mode, ok := e.number(migrateReq)
	if !ok {
		e.unreadable("listen-migration", migrateReq+" came with Linux 5.14")
		return
	}
	e.add(Finding{
		Name: "listen-migration", Level: LevelOK, Value: decimal(mode),
		Why: "not needed: the primary keeps its listening sockets open, whichever worker accepts",
	})
}

// timeWait checks the limit of sockets that linger after this side has closed them.
func (e *exam) timeWait() {
	most, ok := e.number(timeWaitMax)
	now, okNow := e.Sockets["TCP.tw"]
	if !ok || !okNow {
		e.unreadable("time-wait",
			timeWaitMax+" limits the sockets that linger for a minute after this side has closed them")
		return
	}
	f := Finding{Name: "time-wait", Level: LevelOK, Value: fmt.Sprintf("%d of %d", now, most)}
	if reuse, ok := e.number(timeWaitReuse); ok {
		f.Value += fmt.Sprintf(", reuse %d", reuse)
	}
	if fin, ok := e.number(finTimeout); ok {
		f.Value += fmt.Sprintf(", FIN timeout %d s", fin)
	}
	f.Why = "sockets that this side closes, as in a drain, linger for a minute; they need no descriptor"
	if now >= most/100*fullPercent {
		f.Level, f.Want = LevelWarn, fmt.Sprintf("%d", now*2)
		f.Why = "beyond this number sockets do not linger, and late packets of old connections may reach new ones"
		e.set(&f, timeWaitMax, decimal(now*2), f.Why)
	}
	e.add(f)
}

func (e *exam) keepAlive() {
	seconds, ok := e.number(keepAliveTime)
	if !ok {
		e.unreadable("keep-alive", keepAliveTime+" is the silence after which the kernel probes a peer")
		return
	}
	e.add(Finding{
		Name: "keep-alive", Level: LevelOK, Value: fmt.Sprintf("%d s", seconds),
		Why: "irrelevant: Expedite pings silent clients itself, much earlier",
	})
}

// sockets reports the sockets in use.
func (e *exam) sockets() {
	n, ok := e.Sockets["TCP.inuse"]
	if !ok {
		e.unreadable("sockets", "/proc/net/sockstat counts the sockets in use")
		return
	}
	e.add(Finding{
		Name: "sockets", Level: LevelOK,
		Value: fmt.Sprintf("%d in use, %d orphans, %s in buffers", n, e.Sockets["TCP.orphan"],
			human.Bytes(times(e.Sockets["TCP.mem"], pageBytes))),
		Why: "TCP sockets over IPv4 in this network namespace; their buffers count against tcp_mem",
	})
}
