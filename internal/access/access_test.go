package access

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// rig is a worker that has nothing but an event loop, access and its registry. The token of a client is its user.
type rig struct {
	t       *testing.T
	addr    string
	engine  *engine.Engine
	client  *registry.Client
	orders  *Orders
	tracker *Tracker
	opened  chan *Client
	admit   *Admission
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, opened: make(chan *Client, 1)}
	j, err := telemetry.OpenJournal(telemetry.JournalConfig{Handler: slog.DiscardHandler, Queue: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	route := &engine.Route{Path: "/", Handler: r, Authorize: r.authorize, Blocking: true, Inline: true}
	route.Reader.MaxMessage, route.Reader.MaxFragments = 1<<20, 100
	route.Prepare()
	r.engine, err = engine.New(engine.Config{
		Route: func(string) *engine.Route { return route }, NewID: func() uint64 { return uint64(connid.New(0, 1)) },
		Logger: j.Logger, HTTP: func(x *engine.Requests) { _ = x.Close() },
	})
	if err != nil {
		t.Fatal(err)
	}
	deny := new(denylist.List)
	r.orders = NewOrders(OrdersConfig{
		Engine: r.engine, Deny: deny, Log: j.Logger, ClientOf: clientOf,
		CloseElsewhere: func(uint64, ws.CloseCode, string) bool { return false },
	})
	server, err := registry.NewServer(t.Context(), registry.Config{Journal: j, Moving: func() bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	var link *registry.Worker
	r.client = registry.NewClient(registry.ClientConfig{
		Send: func(m []byte) error { link.Receive(m); return nil }, Journal: j, Deny: deny, Connections: r.orders, Wait: true,
	})
	link = server.Join(1, func(m []byte) error { r.client.Receive(m); return nil })
	r.tracker = NewTracker(TrackerConfig{
		Store: r.client.Store(), Registry: r.client, Engine: r.engine, Journal: j, ClientOf: clientOf,
		Close: func(connid.ID, ws.CloseCode, string) {},
	})
	r.admit = NewAdmission(AdmissionConfig{
		Mode: Required, Deny: deny, Tracker: r.tracker, Orders: r.orders, Params: new(Params),
		Verifier: auth.VerifierFunc(func(_ context.Context, token string) (*auth.Identity, error) {
			return &auth.Identity{User: token}, nil
		}),
	})
	r.start()
	return r
}

// start serves until the end of the test.
func (r *rig) start() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	if _, err := r.engine.Listen(ln, ""); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- r.engine.Run() }()
	go r.tracker.Run()
	r.client.Meet()
	r.t.Cleanup(func() {
		r.engine.Stop()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		r.tracker.Stop(context.Background())
		r.client.Close()
		_ = ln.Close()
	})
}

// clientOf returns the Client of a connection.
func clientOf(owner any) *Client {
	c, _ := owner.(*Client)
	return c
}

func (r *rig) authorize(ctx context.Context, u *engine.Upgrade) error {
	c := &Client{Conn: u.Conn, Query: u.Request.RawQuery}
	if err := r.admit.Admit(ctx, &Endpoint{Path: "/", Session: true}, u, c); err != nil {
		return r.admit.Refuse(err, u.Conn.Peer(), "/")
	}
	u.Conn.SetOwner(c)
	return nil
}

// dial connects a client, with a session to resume if it is not empty, and returns it when it is open.
func (r *rig) dial(user, session string) *Client {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws://"+r.addr+"/?access_token="+user+"&session="+session, nil)
	if err != nil {
		if resp != nil {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.CloseNow() })
	return <-r.opened
}

// open reports whether a connection is open.
func (r *rig) open(c *Client) bool {
	open := make(chan bool, 1)
	if !r.engine.Post(func() {
		ec := r.engine.Lookup(uint64(c.ID()))
		open <- ec != nil && ec.Open()
	}) {
		return false
	}
	return <-open
}

// Open implements engine.Handler.
func (r *rig) Open(ec *engine.Conn) {
	c := clientOf(ec.Owner())
	r.admit.Opened(c)
	r.opened <- c
}

// Message implements engine.Handler.
func (r *rig) Message(*engine.Conn, ws.Opcode, []byte) {}

// Drain implements engine.Handler.
func (r *rig) Drain(*engine.Conn) {}

// Close implements engine.Handler.
func (r *rig) Close(ec *engine.Conn, _ ws.CloseCode, _ string) { r.tracker.Ended(clientOf(ec.Owner())) }

// Gap implements engine.Handler.
func (r *rig) Gap(*engine.Conn, string, uint64) {}

// Suspend implements engine.Handler.
func (r *rig) Suspend(*engine.Conn) ([]byte, error) { return nil, nil }

// Resume implements engine.Handler.
func (r *rig) Resume(*engine.Conn, []byte) error { return nil }

var _ engine.Handler = (*rig)(nil)

// TestDroppedHandshakeTakesNothing: a client that leaves before its connection opens leaves the session, and its
// values, to the connection that has it.
func TestDroppedHandshakeTakesNothing(t *testing.T) {
	r := newRig(t)
	c := r.dial("alice", "")
	id, _ := c.Session()
	d := new(details)
	d.identify(&auth.Identity{User: "alice"})
	dropped := uint64(connid.New(0, 1))
	if err := r.tracker.attach(t.Context(), d, id, dropped, nil); err != nil || !d.resumed {
		t.Fatalf("attach: %v, resumed %v", err, d.resumed)
	}
	r.tracker.dropped(d, dropped)
	r.tracker.flush()
	if !r.open(c) {
		t.Error("the connection that had the session was closed")
	}
	list, err := r.tracker.Store.Find(t.Context(), id)
	if err != nil || len(list) != 1 || list[0].Place.Conn != uint64(c.ID()) {
		t.Errorf("the session: got %+v, %v; want it with connection %s", list, err, c.ID())
	}
}

// TestOrdersForOneName: an order that spares a connection does not shield it from another for the same name.
func TestOrdersForOneName(t *testing.T) {
	r := newRig(t)
	c := r.dial("alice", "")
	revoke := registry.Order{Kind: "user", Value: "alice", Code: registry.CodeRevoked, Reason: "revoked"}
	spare := registry.Order{Kind: "user", Value: "alice", Except: c.ID(), Code: registry.CodeKicked, Reason: "out"}
	done := make(chan int, 2)
	o := r.orders
	o.mu.Lock()
	for _, order := range []registry.Order{revoke, spare} {
		o.waiting = append(o.waiting, &pendingOrder{Order: order, done: func(n int) { done <- n }})
	}
	o.sweeping = true
	o.sweep()
	o.mu.Unlock()
	if a, b := <-done, <-done; a+b != 1 {
		t.Errorf("closed %d and %d, want one", a, b)
	}
	if r.open(c) {
		t.Error("the connection is still open")
	}
}

// TestKickedSessionStaysAway: a connection that does not answer its close frame does not bring its session back.
func TestKickedSessionStaysAway(t *testing.T) {
	r := newRig(t)
	c := r.dial("alice", "") // it reads nothing from here on
	id, _ := c.Session()
	saved := []session.Saved{r.tracker.saved(c, c.details.Load())}
	done, err := r.client.Command(t.Context(), registry.Command{Drop: true, Order: registry.Order{
		Kind: "session", Value: id.String(), Code: registry.CodeKicked, Reason: "out",
	}})
	if err != nil || done.Closed != 1 {
		t.Fatalf("closed %d, %v", done.Closed, err)
	}
	r.tracker.touchAll(saved)
	if list, err := r.tracker.Store.Find(t.Context(), id); err != nil || len(list) > 0 {
		t.Errorf("got %+v, %v, want that there is no such session", list, err)
	}
	c = r.dial("bob", "")
	id, _ = c.Session()
	saved = []session.Saved{r.tracker.saved(c, c.details.Load())}
	if _, err := r.tracker.Store.Drop(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	r.tracker.touchAll(saved)
	if list, err := r.tracker.Store.Find(t.Context(), id); err != nil || len(list) == 0 {
		t.Errorf("a store that has lost the session of an open connection: %v, %v", list, err)
	}
}

// TestRefreshedIdentity: what Authorize has made of a client outlives its token, and nothing else does.
func TestRefreshedIdentity(t *testing.T) {
	was := &auth.Identity{
		User: "alice", Scopes: []string{"granted"}, TokenID: "1", Issuer: "old", Expiry: time.Unix(1, 0),
		Source: auth.SourceCookie,
	}
	token := &auth.Identity{User: "alice", Scopes: []string{"read"}, TokenID: "2", Issuer: "new", Expiry: time.Unix(2, 0)}
	for _, tt := range []struct {
		authorized bool
		scope      string
	}{{false, "read"}, {true, "granted"}} {
		id := refreshed(was, token, tt.authorized)
		if !id.HasScope(tt.scope) || len(id.Scopes) != 1 {
			t.Errorf("authorized %v: got %q, want %s", tt.authorized, id.Scopes, tt.scope)
		}
		if id.TokenID != "2" || id.Issuer != "new" || !id.Expiry.Equal(token.Expiry) || id.Source != auth.SourceCookie {
			t.Errorf("authorized %v: got %+v, want the new token's", tt.authorized, id)
		}
	}
}
