package main

import (
	"context"
	"encoding/json"
	"fmt"

	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
)

// TestJSReload: nobody notices that the server is replaced twice.
func TestJSReload(t *testing.T) {
	onEachRuntime(t, func(ctx context.Context, t *testing.T, r *jsRuntime) {
		s := r.serve(t, "--workers", "2")
		r.do(ctx, t, `follow("ws://`+s.addr+`/echo"); globalThis.sent = 0
			globalThis.timer = setInterval(() => client.send("n " + ++sent), 5); until(() => client.heard.length > 20)`)
		for range 2 {
			if out, err := s.expedite("reload", "--canary", "0s"); err != nil {
				t.Fatalf("reload: %v: %s", err, out)
			}
		}
		var got struct {
			States  string
			Dropped int
			Orderly bool
		}
		r.eval(ctx, t, `new Promise(async done => {
			const before = client.heard.length
			await until(() => client.heard.length > before + 20)
			clearInterval(timer)
			await until(() => client.heard.length >= sent)
			done({states: names(), dropped: client.dropped, orderly: numbers().every((n, i) => n === i + 1)})
		})`, &got)
		if got.States != "connecting open" || got.Dropped != 0 || !got.Orderly {
			t.Errorf("got %+v", got)
		}
	})
}

// heard is what a client has heard of a publisher.
type heard struct {
	Numbers []int
	States  string
	Others  []string // messages without a number
}

// wantAll waits until the client has heard number last, and checks that none is missing, and none comes again if once is
// set.
func (r *jsRuntime) wantAll(ctx context.Context, t *testing.T, last int, once bool) heard {
	t.Helper()
	var got heard
	r.eval(ctx, t, `until(() => numbers().includes(`+strconv.Itoa(last)+`) && client.state === "open").then(() => ({
		numbers: numbers(), states: names(), others: client.heard.filter(m => !/\bn \d+$/.test(m)),
	}))`, &got)
	known := make(map[int]int)
	for _, n := range got.Numbers {
		known[n]++
	}
	first := got.Numbers[0] // the client may have come after the publisher
	for n := first; n <= last; n++ {
		if known[n] == 0 || once && known[n] != 1 {
			t.Errorf("number %d of %d to %d came %d times; states %s, others %q", n, first, last, known[n], got.States, got.Others)
			break
		}
	}
	if once && !slices.IsSorted(got.Numbers) {
		t.Errorf("the numbers are not in their order: %v", got.Numbers)
	}
	return got
}

// session is the option that finds the id of the lobby's session.
const session = `session: data => JSON.parse(data).session`

// TestJSKilledWorker: a client whose worker is killed connects again, and goes on by its session in the lobby, and by
// its position in an application that tells positions.
func TestJSKilledWorker(t *testing.T) {
	onEachRuntime(t, func(ctx context.Context, t *testing.T, r *jsRuntime) {
		t.Run("session", func(t *testing.T) {
			s := r.serve(t, "--workers", "2", "--history", "lobby=100000/1h")
			var worker int
			r.eval(ctx, t, `follow("ws://`+s.addr+`/", {`+session+`})
				until(() => client.heard[0]).then(m => JSON.parse(m).worker)`, &worker)
			p := s.publish(ctx, "/", worker)
			r.do(ctx, t, `until(() => numbers().length > 20)`)
			eventually(t, "what was received is saved", func() bool {
				return strings.Contains(get(t, "http://"+s.adminAddr()+"/metrics"), `"received_saved"`)
			})
			s.killWorker(worker)
			r.do(ctx, t, `until(() => client.heard.some(m => m.includes("recovered")))`)
			got := r.wantAll(ctx, t, p.end(), false)
			if got.States != "connecting open waiting connecting open" {
				t.Errorf("states: %s", got.States)
			}
			if !slices.ContainsFunc(got.Others, func(m string) bool { return strings.Contains(m, `"resumed":true`) }) ||
				!slices.ContainsFunc(got.Others, func(m string) bool { return strings.Contains(m, `"ok":true`) }) {
				t.Errorf("the session did not go on: %q", got.Others)
			}
		})
		t.Run("position", func(t *testing.T) {
			s := r.serveRoom(t, "")
			var worker int
			r.eval(ctx, t, followRoom(s.addr)+`; until(() => client.heard[0]).then(m => JSON.parse(m).worker)`, &worker)
			p := s.publish(ctx, "/room", worker)
			r.do(ctx, t, `until(() => numbers().length > 20)`)
			s.killWorker(worker)
			r.do(ctx, t, `until(() => client.states.length > 4)`)
			r.wantAll(ctx, t, p.end(), true)
		})
	})
}

// followRoom is a script that follows the room from the last position that was heard.
func followRoom(addr string, options ...string) string {
	return `follow(() => "ws://` + addr + `/room?at=" + client.at, {` + strings.Join(options, ", ") + `})
		client.addEventListener("message", ({data}) => { if (/ n \d+$/.test(data)) client.at = data.split(" ")[0] })`
}

// TestJSRestart: a client whose server is stopped backs off and comes back when it is started again. What it sends
// meanwhile is kept up to the limit.
func TestJSRestart(t *testing.T) {
	onEachRuntime(t, func(ctx context.Context, t *testing.T, r *jsRuntime) {
		s := r.serveAt(t, "127.36.0.1:0", "--workers", "1")
		r.do(ctx, t, `follow("ws://`+s.addr+`/echo", {buffer: {messages: 10}, backoff: {base: 200}}); until(() => client.state === "open")`)
		s.signal(syscall.SIGTERM)
		if code := s.waitEnd(); code != 0 {
			t.Fatalf("the server ended with %d", code)
		}
		r.do(ctx, t, `until(() => client.states.filter(s => s.state === "waiting").length >= 3)`)
		r.do(ctx, t, `Array.from({length: 300}, (_, i) => client.send("n " + i))`)
		again := r.serveAt(t, s.addr, "--workers", "1")
		var got struct {
			Heard   []string
			Dropped int
			Codes   []int
			Delays  []float64
		}
		r.eval(ctx, t, `until(() => client.heard.length >= 10).then(() => {
			const waiting = client.states.filter(s => s.state === "waiting")
			return {heard: client.heard, dropped: client.dropped, codes: waiting.map(s => s.code), delays: waiting.map(s => s.delay)}
		})`, &got)
		if len(got.Heard) != 10 || got.Heard[0] != "n 290" || got.Heard[9] != "n 299" || got.Dropped != 290 {
			t.Errorf("got %v, %d dropped; want the last 10 of 300", got.Heard, got.Dropped)
		}
		if got.Codes[0] != 1012 || got.Codes[1] != 1006 || got.Codes[2] != 1006 {
			t.Errorf("codes: got %v, want 1012, then 1006", got.Codes)
		}
		for i, d := range got.Delays {
			if most := 100 + 200*float64(int(1)<<i); d < 100 || d > most {
				t.Errorf("wait %d is %v ms, want at most %v", i, d, most)
			}
		}
		again.await("the client is there", func(st control.Status) bool { return st.Totals.Connections > 0 })
	})
}

// TestJSCutNetwork: a network that is cut is noticed at once, and one that stalls by the heartbeat. Nothing is lost, and
// nothing comes again.
func TestJSCutNetwork(t *testing.T) {
	onEachRuntime(t, func(ctx context.Context, t *testing.T, r *jsRuntime) {
		s := r.serveRoom(t, "")
		way := startWay(t, s.addr)
		r.do(ctx, t, followRoom(way.addr, `heartbeat: {message: "ping", every: 200, within: 2000}`)+`
			until(() => client.pongs > 0)`)
		p := s.publish(ctx, "/room", 0)
		r.do(ctx, t, `until(() => numbers().length > 20)`)
		way.cut()
		r.do(ctx, t, `until(() => client.states.length === 5)`)
		way.stall(true)
		r.do(ctx, t, `until(() => client.state === "waiting")`)
		way.stall(false)
		r.do(ctx, t, `until(() => client.state === "open")`)
		r.wantAll(ctx, t, p.end(), true)
		var reason string
		r.eval(ctx, t, `client.states[5].reason`, &reason)
		if reason != "no sign of life" {
			t.Errorf("reason of the stalled connection: got %q", reason)
		}
	})
}

// way is a TCP proxy that can be cut.
type way struct {
	addr string
	mu   sync.Mutex
	held *sync.Cond // broadcast when stalled changes
	ends []net.Conn
	isStalled,
	isOver bool
}

func startWay(t *testing.T, to string) *way {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &way{addr: l.Addr().String()}
	w.held = sync.NewCond(&w.mu)
	var all sync.WaitGroup
	all.Go(func() { // ends when l is closed
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			w.mu.Lock()
			w.ends = append(w.ends, in, out)
			w.mu.Unlock()
			all.Go(func() { w.carry(in, out) })
			all.Go(func() { w.carry(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.mu.Lock()
		w.isOver = true
		w.mu.Unlock()
		w.stall(false)
		w.cut()
		all.Wait()
	})
	return w
}

// carry copies until one end is closed. It holds what it has read while the way is stalled.
func (w *way) carry(from, to net.Conn) {
	defer from.Close()
	defer to.Close()
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		w.mu.Lock()
		for w.isStalled && !w.isOver {
			w.held.Wait()
		}
		w.mu.Unlock()
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cut closes all connections.
func (w *way) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.ends {
		_ = c.Close()
	}
	w.ends = nil
}

// stall holds everything back, or lets it go.
func (w *way) stall(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isStalled = on
	w.held.Broadcast()
}

// TestJSRefused: a client that is refused for a while comes when the server says.
func TestJSRefused(t *testing.T) {
	onEachRuntime(t, func(ctx context.Context, t *testing.T, r *jsRuntime) {
		t.Run("429", func(t *testing.T) {
			s := r.serve(t, "--workers", "1", "--max-per-address", "1")
			r.do(ctx, t, `follow("ws://`+s.addr+`/echo"); until(() => client.state === "open")`)
			r.wantWait(ctx, t, s.addr, 4429, 5000)
		})
		t.Run("503", func(t *testing.T) {
			s := r.serve(t, "--workers", "1", "--auth", "required", "--auth-jwks", "http://127.0.0.1:1/keys")
			r.wantWait(ctx, t, s.addr, 4503, 5000)
		})
		t.Run("hidden", func(t *testing.T) { // /readyz does not know
			s := r.serve(t, "--workers", "1", "--max-connections", "1")
			r.do(ctx, t, `follow("ws://`+s.addr+`/echo"); until(() => client.state === "open")`)
			r.wantWait(ctx, t, s.addr, 1006, 100)
		})
	})
}

// wantWait checks that another client waits for at least some milliseconds.
func (r *jsRuntime) wantWait(ctx context.Context, t *testing.T, addr string, code int, least float64) {
	t.Helper()
	var got struct {
		Code   int
		Reason string
		Delay  float64
	}
	r.eval(ctx, t, `follow("ws://`+addr+`/echo"); until(() => client.states.find(s => s.state === "waiting"))`, &got)
	if got.Code != code || got.Delay < least {
		t.Errorf("got %+v, want code %d and at least %v ms", got, code, least)
	}
}

// TestJSTokens: an expired token is replaced, in each way to send one, and a revoked user gives up.
func TestJSTokens(t *testing.T) {
	onEachRuntime(t, func(ctx context.Context, t *testing.T, r *jsRuntime) {
		s := r.serve(t, "--workers", "2", "--auth", "required", "--auth-secret-file", secretFile(t), "--auth-leeway", "0")
		for _, by := range []string{"ticket", "subprotocol", "query"} {
			tokens := []string{tokenFor(t, by, "old", -time.Minute, nil), tokenFor(t, by, "long", time.Hour, nil)}
			if by == "ticket" { // one that expires while the connection is open
				tokens = slices.Insert(tokens, 1, tokenFor(t, by, "short", 10*time.Second, nil))
			}
			list, err := json.Marshal(tokens)
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				States string
				Codes  []int
				Asked  []bool
			}
			// Without a ticket the first token is refused in the handshake, which tells nothing before /ticket is asked.
			r.eval(ctx, t, fmt.Sprintf(`globalThis.tokens = %s; globalThis.asked = []
				follow("ws://%s/", {tokenBy: %q, protocols: "expedite.v1", token: async ({refused}) => {
					asked.push(refused)
					return tokens.length > 1 ? tokens.shift() : tokens[0]
				}})
				until(() => asked.length === %d && client.state === "open").then(() => ({
					states: names(), asked, codes: client.states.map(s => s.code).filter(c => c),
				}))`, list, s.addr, by, len(tokens)), &got)
			want := "connecting waiting" + strings.Repeat(" connecting open waiting", len(tokens)-2) + " connecting open"
			if got.States != want {
				t.Errorf("%s: states %s, want %s", by, got.States, want)
			}
			if slices.ContainsFunc(got.Codes, func(code int) bool { return code != 4401 }) || slices.Index(got.Asked, true) != 1 ||
				slices.Contains(got.Asked[1:], false) {
				t.Errorf("%s: got %+v, want 4401 only, and another token asked for each time", by, got)
			}
			if out, err := s.expedite("revoke", "--user", by); err != nil {
				t.Fatalf("revoke: %v: %s", err, out)
			}
			var end struct {
				Code   int
				Reason string
			}
			r.eval(ctx, t, `until(() => client.states.find(s => s.state === "closed"))`, &end)
			if end.Code != 4401 || !strings.Contains(end.Reason, "revoked") {
				t.Errorf("%s: revoked: got %+v, want 4401", by, end)
			}
		}
		r.do(ctx, t, fmt.Sprintf(`follow("ws://%s/", {token: () => %q}); until(() => client.state === "open")`,
			s.addr, tokenFor(t, "kicked", "k", time.Hour, nil)))
		if out, err := s.expedite("kick", "--user", "kicked"); err != nil {
			t.Fatalf("kick: %v: %s", err, out)
		}
		var code int
		r.eval(ctx, t, `until(() => client.states.find(s => s.state === "closed")).then(s => s.code)`, &code)
		if code != 4403 {
			t.Errorf("kicked: got %d, want 4403", code)
		}
	})
}

// TestJSRefresh: a connection outlives its token if the application lets the client send another one.
func TestJSRefresh(t *testing.T) {
	onEachRuntime(t, func(ctx context.Context, t *testing.T, r *jsRuntime) {
		s := r.serveRoom(t, testSecret)
		first, second := tokenFor(t, "ann", "1", 6*time.Second, nil), tokenFor(t, "ann", "2", time.Hour, nil)
		var states string
		r.eval(ctx, t, fmt.Sprintf(`globalThis.tokens = [%q, %q]
			follow("ws://%s/room", {token: () => tokens.shift(), refresh: t => "refresh " + t})
			until(() => client.heard.includes("refreshed")).then(() => new Promise(done => setTimeout(() => done(names()), 3000)))`,
			first, second, s.addr), &states)
		if states != "connecting open" {
			t.Errorf("states: %s", states)
		}
	})
}

// TestJSOfTheServer: the page of `expedite serve` may use the client that it serves, and so may its workers.
func TestJSOfTheServer(t *testing.T) {
	t.Parallel()
	s := serve(t, "--workers", "1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	b := startBrowser(ctx, t)
	tab := b.open(ctx, "http://"+s.addr+"/")
	var heard string
	b.evaluate(ctx, tab, `import("/expedite.js").then(({Expedite}) => new Promise(done => {
		const client = new Expedite("/echo#part")
		client.send("from the page")
		client.onmessage = e => done(e.data)
	}))`, &heard)
	if heard != "from the page" {
		t.Errorf("got %q", heard)
	}
	page := startPage(ctx, t)
	other := page.serve(t, "--workers", "1")
	page.eval(ctx, t, `new Promise((done, fail) => {
		const source = "import { Expedite } from '" + location.origin + "/expedite.js';" +
			"const client = new Expedite('ws://`+other.addr+`/echo');" +
			"client.send(new Uint8Array([1, 2, 3])); client.onmessage = e => postMessage(e.data.byteLength)"
		const worker = new Worker(URL.createObjectURL(new Blob([source], {type: "text/javascript"})), {type: "module"})
		worker.onmessage = e => done(e.data + " bytes from a worker")
		worker.onerror = e => fail(new Error(e.message))
	})`, &heard)
	if heard != "3 bytes from a worker" {
		t.Errorf("got %q", heard)
	}
}
