package loadtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/expedite-go/expedite/ws"
)

func mustAddrs(t *testing.T, s string) []netip.Prefix {
	t.Helper()
	list, err := ParseAddrs(s)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestTag checks that tags survive encoding, and that other text is not taken for a tag.
func TestTag(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := tag{
			id: rapid.Uint32Range(0, mask24).Draw(t, "id"), seq: rapid.Uint32Range(0, mask24).Draw(t, "seq"),
			at: rapid.Int64Range(0, 1<<60-1).Draw(t, "at"),
		}
		b := make([]byte, tagLen+3)
		in.put(b)
		for _, c := range b[:tagLen] {
			if c < ' ' || c > '~' {
				t.Fatalf("got %q, want text", b[:tagLen])
			}
		}
		if out, ok := parseTag(b); !ok || out != in {
			t.Fatalf("got %+v %t, want %+v", out, ok, in)
		}
	})
	for _, s := range []string{"", "~x", `{"type":"welcome","connection":"1"}`, "~x 000000000000000000", "~x" + strings.Repeat("\xff", 18)} {
		if got, ok := parseTag([]byte(s)); ok {
			t.Errorf("%q: got %+v", s, got)
		}
	}
}

// TestAhead checks that 24-bit numbers are compared correctly around their overflow.
func TestAhead(t *testing.T) {
	for _, tt := range []struct {
		seq, count uint32
		want       int32
	}{{5, 5, 0}, {6, 5, 1}, {4, 5, -1}, {0, mask24, 1}, {mask24, 0, -1}, {mask24, 1 << 24, -1}, {3, 1<<24 + 3, 0}} {
		want(t, fmt.Sprint(tt.seq, " after ", tt.count), ahead(tt.seq, tt.count), tt.want)
	}
}

// TestTimers checks that timers are taken in the order of time.
func TestTimers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var list timers
		var model []int64
		for _, at := range rapid.SliceOf(rapid.Int64Range(-1, 100)).Draw(t, "times") {
			if at < 0 && len(model) > 0 {
				if got := list.take().at; got != model[0] {
					t.Fatalf("got %d, want %d", got, model[0])
				}
				model = model[1:]
				continue
			}
			list.add(timer{at: at})
			i, _ := slices.BinarySearch(model, at)
			model = slices.Insert(model, i, at)
		}
		for _, at := range model {
			if got := list.next(); got != at {
				t.Fatalf("next: got %d, want %d", got, at)
			}
			list.take()
		}
		if list.len() != 0 {
			t.Fatalf("%d are left", list.len())
		}
	})
}

// TestParseAddrs checks which addresses a list means.
func TestParseAddrs(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		some string
	}{
		{"127.0.0.2", 1, "127.0.0.2"},
		{"127.0.0.2, 127.0.0.9", 2, "127.0.0.9"},
		{"127.0.1.0/24", 254, "127.0.1.254"},
		{"127.0.1.7/32", 1, "127.0.1.7"},
		{"127.0.1.6/31", 2, "127.0.1.7"},
		{"::1", 1, "::1"},
		{"fd00::/120", 254, "fd00::fe"},
	} {
		list, err := ParseAddrs(tt.in)
		if err != nil {
			t.Error(err)
			continue
		}
		all, err := expand(list)
		if err != nil || len(all) != tt.n || !slices.Contains(all, netip.MustParseAddr(tt.some)) {
			t.Errorf("%s: got %v, %v, want %d with %s", tt.in, all, err, tt.n, tt.some)
		}
	}
	for _, s := range []string{"", ",", "localhost", "127.0.0.1/33", "127.0.0.0/8", "fd00::/64", "127.0.0.0/16,127.1.0.0/16,127.2.0.0/16"} {
		if list, err := ParseAddrs(s); err == nil {
			t.Errorf("%q: got %v", s, list)
		}
	}
	if got := loopbacks(300); len(got) != 300 || got[253].String() != "127.0.0.254" || got[254].String() != "127.0.1.1" {
		t.Errorf("got %v", got)
	}
}

// TestLocalAddresses checks that clients of a server on a loopback address use as many local addresses as their number
// requires.
func TestLocalAddresses(t *testing.T) {
	for _, tt := range []struct {
		cfg  Config
		want int
	}{
		{Config{Connections: perPair}, 0},
		{Config{Connections: perPair + 1}, 2},
		{Config{Connections: 1_000_000}, 100},
		{Config{Connections: 1_000_000, TargetAddrs: mustAddrs(t, "127.0.1.0/28")}, 8},
		{Config{Connections: 1_000_000, LocalAddrs: mustAddrs(t, "127.0.0.3")}, 1},
		{Config{Connections: 1_000_000, TargetAddrs: mustAddrs(t, "::1")}, 0},
	} {
		cfg := tt.cfg.withDefaults()
		cfg.URL = "ws://127.0.0.1:1/"
		to, err := cfg.target(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want(t, fmt.Sprint(cfg.Connections, " to ", len(to.remotes)), len(to.locals), tt.want)
	}
}

// TestPairs checks that all pairs of addresses take turns.
func TestPairs(t *testing.T) {
	to := &target{locals: loopbacks(3), remotes: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.2:1")}}
	seen := make(map[string]int)
	for n := range uint64(60) {
		local, remote := to.pair(n)
		seen[local.String()+" "+remote.String()]++
	}
	want(t, "pairs", len(seen), 6)
	for p, n := range seen {
		want(t, p, n, 10)
	}
}

func TestParseRamp(t *testing.T) {
	for _, tt := range []struct {
		in   string
		d    time.Duration
		rate float64
		ok   bool
	}{
		{"5s", 5 * time.Second, 0, true},
		{"0s", -1, 0, true},
		{"500/s", 0, 500, true},
		{"0.5/s", 0, 0.5, true},
		{"", 0, 0, false},
		{"5", 0, 0, false},
		{"-5s", 0, 0, false},
		{"0/s", 0, 0, false},
		{"-1/s", 0, 0, false},
		{"x/s", 0, 0, false},
		{"NaN/s", 0, 0, false},
		{"5 6/s", 0, 0, false},
	} {
		d, rate, err := ParseRamp(tt.in)
		if d != tt.d || rate != tt.rate || (err == nil) != tt.ok {
			t.Errorf("%q: got %v, %v, %v", tt.in, d, rate, err)
		}
	}
}

// TestNumberOfProcesses checks that there are as many processes as the limit of open files requires, and more only up
// to half of the cores.
func TestNumberOfProcesses(t *testing.T) {
	for _, tt := range []struct{ n, files, cores, want int }{
		{1, 1024, 2, 1},
		{10_000, 20_000, 2, 1},
		{20_000, 20_000, 2, 2},
		{1_000_000, 20_000, 2, 51},
		{100_000, 1 << 20, 16, 8},
		{8_000, 1 << 20, 16, 2},
		{100_000, 0, 2, 1},
		{1 << 24, 100, 2, maxProcesses},
		{100, 10, 2, 1},
	} {
		want(t, fmt.Sprint(tt), processes(tt.n, tt.files, tt.cores), tt.want)
	}
}

func TestCause(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("dial: %w", &net.OpError{Err: syscall.ECONNREFUSED}), "ECONNREFUSED"},
		{fmt.Errorf("socket: %w", syscall.EMFILE), "EMFILE"},
		{&net.DNSError{Name: "secret.example"}, "dns: no such host"},
		{context.DeadlineExceeded, "timeout"},
		{io.EOF, "closed"},
		{&ws.ResponseError{Status: 503}, "http 503"},
		{&ws.ProtocolError{Code: 1002, Reason: "bad"}, "protocol 1002: bad"},
		{errors.New("two\nlines"), "two lines"},
		{errors.New(strings.Repeat("ü", maxCause)), strings.Repeat("ü", maxCause/2)},
	} {
		want(t, fmt.Sprint(tt.err), cause(tt.err), tt.want)
	}
	for body, code := range map[string]string{
		`{"error":{"code":"token_expired"}}`: " token_expired",
		`{"error":{"code":190}}`:             " 190",
		`{"error":{"type":"auth"}}`:          " auth",
		`{"error":"invalid_token"}`:          " invalid_token",
		`{"code":"overloaded"}`:              " overloaded",
		`{"error":"a whole sentence"}`:       "",
		`not json`:                           "",
		`[1]`:                                "",
		``:                                   "",
	} {
		want(t, body, refusal(401, []byte(body)), "http 401"+code)
	}
	const text = "this port speaks TLS: use https:// or wss:// to reach it"
	want(t, text, hints[refusal(400, []byte(text))], "try wss:// instead of ws://")
}

// TestSample checks that samples survive encoding.
func TestSample(t *testing.T) {
	in := &sample{Settled: true, Orders: 3, CPU: time.Second, times: newMeasures()}
	in.Totals.Opened = 5
	count(&in.Totals.Errors, "EMFILE")
	record(in.times.rtt, 12345678)
	record(in.times.late, int64(time.Hour)) // longer than mostTime
	b, err := in.encode()
	if err != nil {
		t.Fatal(err)
	}
	out, err := decodeSample(b)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "opened", out.Totals.Opened, 5)
	want(t, "errors", out.Totals.Errors["EMFILE"], 1)
	want(t, "settled", out.Settled, true)
	want(t, "orders", out.Orders, 3)
	want(t, "rtt", out.times.rtt.Equals(in.times.rtt), true)
	want(t, "late", out.times.late.Equals(in.times.late), true)
	want(t, "sent", out.times.sent.TotalCount(), 0)
	for _, b := range []string{"", "{", `{"Times":["AAAA"]}`} {
		if _, err := decodeSample([]byte(b)); err == nil {
			t.Errorf("%q: got no error", b)
		}
	}
}

// TestCount checks that the number of causes is limited and that no count is lost beyond the limit.
func TestCount(t *testing.T) {
	var m map[string]uint64
	for i := range 10 * maxCauses {
		count(&m, fmt.Sprint(i))
		count(&m, "first")
	}
	want(t, "causes", len(m), maxCauses+1)
	want(t, "all", sum(m), 20*maxCauses)
}

// TestTimeline checks that a timeline of any run is short and evenly spaced.
func TestTimeline(t *testing.T) {
	var l timeline
	const n = 100_000
	for i := range n {
		l.add(Point{T: float64(i)})
	}
	if len(l.points) >= maxPoints || len(l.points) < maxPoints/3 {
		t.Errorf("got %d points", len(l.points))
	}
	step := l.points[1].T - l.points[0].T
	for i := 1; i < len(l.points); i++ {
		if got := l.points[i].T - l.points[i-1].T; got != step {
			t.Fatalf("point %d: got a step of %v, want %v", i, got, step)
		}
	}
	if l.points[0].T != 0 || n-l.points[len(l.points)-1].T > 2*step {
		t.Errorf("got %v to %v", l.points[0].T, l.points[len(l.points)-1].T)
	}
}

// TestRedacted checks that reports contain no secrets of a URL.
func TestRedacted(t *testing.T) {
	for in, out := range map[string]string{
		"ws://h/p?a=1":                         "ws://h/p?a=1",
		"ws://h/p?access_token=abc":            "ws://h/p?access_token=***",
		"ws://h/p?a=1&Token=abc&b=2":           "ws://h/p?a=1&Token=***&b=2",
		"ws://h/p?session=abc&access_token=de": "ws://h/p?session=***&access_token=***",
	} {
		want(t, in, redacted(in), out)
	}
}

// TestVars checks that variables keep their order and their last value.
func TestVars(t *testing.T) {
	var v Vars
	v.Set("a", 1)
	v.Set("b", 2)
	v.Set("a", 3)
	want(t, "all", fmt.Sprint(v.list), "[{a 3} {b 2}]")
	if _, ok := v.Get("c"); ok {
		t.Error("got a variable that was not set")
	}
}

func TestValueText(t *testing.T) {
	var v any
	if err := json.Unmarshal([]byte(`[7, 7.5, "x", true, null, [1], {"a":1}]`), &v); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range v.([]any) {
		got = append(got, valueText(x))
	}
	want(t, "texts", strings.Join(got, " "), `7 7.5 x true null [1] {"a":1}`)
}

// TestAll checks that samples from before a process has handled its last order do not count.
func TestAll(t *testing.T) {
	r := &run{members: make([]member, 2)}
	settled := func(s *sample) bool { return s.Settled }
	for i := range r.members {
		r.members[i].orders, r.members[i].last = 2, sample{Settled: true, Orders: 2}
	}
	want(t, "all", r.all(settled), true)
	r.members[1].last.Orders = 1
	want(t, "one that lags", r.all(settled), false)
	r.members[1].err = io.EOF
	want(t, "one that is gone", r.all(settled), true)
}

// TestPortable checks that clients connect on goroutines where the poller cannot, as on platforms other than Linux.
func TestPortable(t *testing.T) {
	s := newSite(t)
	cfg := quick(Config{URL: s.url("/echo"), Timeout: patience}).withDefaults()
	to, err := cfg.target(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	samples := make(chan *sample, spareMeasures+1)
	g, err := newGenerator(&cfg, samples)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- g.run() }() // ends with abort
	defer func() {
		g.abort()
		for range samples {
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	g.send(order{Do: orderBegin, Of: 1, Remotes: to.remotes})
	g.loop.Post(func() { g.dialInBackground(to, 99, nil, 0) })
	for {
		select {
		case s := <-samples:
			if s.Totals.Opened == 21 {
				return
			}
			g.recycle(s.times)
		case <-time.After(patience):
			t.Fatal("it does not connect")
		}
	}
}
