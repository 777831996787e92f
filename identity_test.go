package expedite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/ws"
)

// fakeTokens knows tokens of the form user/id/seconds, and nothing else.
func fakeTokens(_ context.Context, token string) (*auth.Identity, error) {
	parts := strings.Split(token, "/")
	if len(parts) != 3 {
		return nil, &auth.Error{Reason: auth.ReasonBadSignature}
	}
	d, err := time.ParseDuration(parts[2] + "s")
	if err != nil || d < 0 {
		return nil, &auth.Error{Reason: auth.ReasonExpired}
	}
	return &auth.Identity{User: parts[0], TokenID: parts[1], Expiry: time.Now().Add(d)}, nil
}

// door is an app in one process whose clients identify themselves.
type door struct {
	t    *testing.T
	app  *App
	addr string
}

// openDoor serves: / greets with user, session and whether it was resumed, and does what it is told; /open asks nobody.
func openDoor(t *testing.T, cfg Config, more ...func(*App)) *door {
	t.Helper()
	d := &door{t: t}
	started := make(chan Started, 1)
	cfg.Addr, cfg.Workers, cfg.OnStart, cfg.WorkerOutput = "127.0.0.1:0", -1, func(s Started) { started <- s }, io.Discard
	if cfg.Auth.Verifier == nil {
		cfg.Auth.Verifier = auth.VerifierFunc(fakeTokens)
	}
	d.app = New(cfg)
	d.app.Handle("/", Handler{Session: true, Open: d.greet, Message: d.do})
	d.app.Handle("/open", Handler{Auth: AuthOff, Open: d.greet})
	for _, add := range more {
		add(d.app)
	}
	mux := http.NewServeMux()
	mux.Handle("/ticket", d.app.Ticket())
	mux.Handle("/readyz", d.app.Readyz())
	d.app.HTTP(mux)
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.app.Run(ctx) }()
	t.Cleanup(func() {
		cancel(ErrStopNow)
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case s := <-started:
		d.addr = s.Addresses[0]
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return d
}

// greeted is what a client of a door is told first.
type greeted struct {
	Conn    ID         `json:"conn"`
	User    string     `json:"user"`
	Session session.ID `json:"session"`
	Resumed bool       `json:"resumed"`
	Query   string     `json:"query"`
}

func (d *door) greet(c *Conn) {
	m, err := JSON(greeted{c.ID(), c.User(), c.Session().ID(), c.Session().Resumed(), c.Query().Encode()})
	if err != nil {
		d.t.Error(err)
	}
	c.Send(m)
}

// do does what a client says: refresh TOKEN, set KEY VALUE, get KEY, subscribe TOPIC, publish TOPIC.
func (d *door) do(c *Conn, m Message) {
	word, rest, _ := strings.Cut(m.String(), " ")
	key, value, _ := strings.Cut(rest, " ")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := "done", error(nil)
	switch word {
	case "refresh":
		err = c.Refresh(rest)
	case "set":
		err = c.Session().Set(ctx, key, []byte(value))
	case "get":
		var b []byte
		b, err = c.Session().Get(ctx, key)
		answer = string(b)
	case "subscribe":
		err = c.Subscribe(rest)
	case "publish":
		err = c.Publish(rest, Text("hello"))
	}
	if err != nil {
		answer = "error: " + err.Error()
	}
	c.Send(Text(answer))
}

// guest is a client of a door.
type guest struct {
	t    *testing.T
	conn *websocket.Conn
	greeted
}

// dial connects; resp is the answer of a refusal.
func (d *door) dial(target string, header http.Header, subprotocols ...string) (*guest, *http.Response, error) {
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, "ws://"+d.addr+target, &websocket.DialOptions{
		HTTPHeader: header, Subprotocols: subprotocols,
	})
	if err != nil {
		return nil, resp, err
	}
	d.t.Cleanup(func() { _ = conn.CloseNow() })
	g := &guest{t: d.t, conn: conn}
	_, b, err := conn.Read(ctx)
	if err == nil {
		err = json.Unmarshal(b, &g.greeted)
	}
	return g, nil, err
}

func (d *door) enter(target string) *guest {
	d.t.Helper()
	g, _, err := d.dial(target, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return g
}

// ask says something and returns the answer.
func (g *guest) ask(text string) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	if err := g.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		g.t.Fatal(err)
	}
	_, b, err := g.conn.Read(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	return string(b)
}

// wantEnd waits for the end, and checks its code.
func (g *guest) wantEnd(name string, code ws.CloseCode) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	_, b, err := g.conn.Read(ctx)
	if got, ok := errors.AsType[websocket.CloseError](err); !ok || ws.CloseCode(got.Code) != code {
		g.t.Errorf("%s: got %q, %v, want close code %d", name, b, err, code)
	}
}

// TestRefusedClients: whoever is not let in hears why, before the upgrade, by status, challenge and body.
func TestRefusedClients(t *testing.T) {
	d := openDoor(t, Config{Auth: Auth{Mode: AuthRequired}})
	if _, err := d.app.Revoke(t.Context(), Who{User: "mallory"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, target string
		header       http.Header
		status       int
		code, wants  string // of the body, and in WWW-Authenticate
	}{
		{"no token", "/", nil, 401, "missing", `Bearer realm="expedite"`},
		{"a wrong token", "/?access_token=x", nil, 401, "bad_signature", `error="invalid_token"`},
		{"an old token", "/?access_token=a/1/-5", nil, 401, "expired", `error="invalid_token"`},
		{"a user that was revoked", "/?access_token=mallory/1/99", nil, 401, "revoked", `error="invalid_token"`},
		{"a header without its token", "/", http.Header{"Authorization": {"Bearer "}}, 401, "malformed", "Bearer"},
		{"a foreign page", "/?access_token=a/1/99", http.Header{"Origin": {"https://evil.example"}}, 403, "origin", ""},
		{"an unknown ticket", "/?ticket=abc", nil, 401, "expired", `error="invalid_token"`},
	} {
		_, resp, err := d.dial(tt.target, tt.header)
		if err == nil || resp == nil {
			t.Errorf("%s: got %v, want a refusal", tt.name, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		var body struct {
			Error struct{ Type, Code, Message string }
		}
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("%s: body %q: %v", tt.name, b, err)
		}
		challenge := resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != tt.status || body.Error.Code != tt.code || !strings.Contains(challenge, tt.wants) ||
			(tt.wants == "") != (challenge == "") || body.Error.Type == "" || body.Error.Message == "" {
			t.Errorf("%s: got %d, %q, %s; want %d, %s, %q", tt.name, resp.StatusCode, challenge, b, tt.status, tt.code, tt.wants)
		}
	}
	if got := d.app.role.Load().worker.Report().AuthRefused["bad_signature"]; got != 1 {
		t.Errorf("counted %d bad signatures, want 1", got)
	}
}

// TestWaysOfATokens: a token is found wherever it may stand, and the application does not see it.
func TestWaysOfATokens(t *testing.T) {
	d := openDoor(t, Config{Auth: Auth{Mode: AuthOptional}})
	for _, tt := range []struct {
		name, target string
		header       http.Header
		user, query  string
	}{
		{"none", "/?a=1", nil, "", "a=1"},
		{"header", "/?a=1", http.Header{"Authorization": {"Bearer alice/1/99"}}, "alice", "a=1"},
		{"query", "/?a=1&access_token=bob/1/99&b=2", nil, "bob", "a=1&b=2"},
		{
			"cookie of the own page", "/?a=1",
			http.Header{"Cookie": {"access_token=carol/1/99"}, "Origin": {"http://" + d.addr}},
			"carol", "a=1",
		},
		{"cookie without a page", "/", http.Header{"Cookie": {"access_token=carol/1/99"}}, "", ""},
	} {
		g, _, err := d.dial(tt.target, tt.header)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if g.User != tt.user || g.Query != tt.query {
			t.Errorf("%s: got user %q with query %q, want %q with %q", tt.name, g.User, g.Query, tt.user, tt.query)
		}
	}
	g := d.enter("/open?access_token=alice/1/99")
	if g.User != "" || !g.Session.IsZero() {
		t.Errorf("an endpoint that asks nobody: got %+v", g.greeted)
	}
}

// ticket asks for one, and returns the answer's status.
func (d *door) ticket(token string) (status int, ticket string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, "http://"+d.addr+"/ticket", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct{ Ticket string }
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, a.Ticket
}

// TestTicket: a ticket opens one connection for its token's user.
func TestTicket(t *testing.T) {
	d := openDoor(t, Config{Auth: Auth{Mode: AuthRequired}})
	status, ticket := d.ticket("alice/1/99")
	if status != http.StatusOK || ticket == "" {
		t.Fatalf("got %d, %q", status, ticket)
	}
	if g := d.enter("/?ticket=" + ticket); g.User != "alice" || g.Query != "" {
		t.Errorf("got %+v, want alice without a query", g.greeted)
	}
	if _, resp, err := d.dial("/?ticket="+ticket, nil); err == nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the second time: got %v, want 401", err)
	}
	if status, _ := d.ticket("nonsense"); status != http.StatusUnauthorized {
		t.Errorf("a ticket for a wrong token: got %d, want 401", status)
	}
}

// TestTicketRequestsAreFew: beyond MaxAuthorizing a request for a ticket gets 503, and is counted.
func TestTicketRequestsAreFew(t *testing.T) {
	asked, release := make(chan struct{}, 3), make(chan struct{})
	d := openDoor(t, Config{MaxAuthorizing: 1, Auth: Auth{
		Verifier: auth.VerifierFunc(func(ctx context.Context, token string) (*auth.Identity, error) {
			asked <- struct{}{}
			<-release
			return fakeTokens(ctx, token)
		}),
	}})
	first := make(chan int, 1)
	go func() {
		status, _ := d.ticket("alice/1/99")
		first <- status
	}()
	<-asked
	if status, _ := d.ticket("bob/1/99"); status != http.StatusServiceUnavailable {
		t.Errorf("the second at once: got %d, want 503", status)
	}
	close(release)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first: got %d, want 200", status)
	}
	if status, _ := d.ticket("bob/1/99"); status != http.StatusOK {
		t.Errorf("the second, later: got %d, want 200", status)
	}
	if n := d.app.role.Load().worker.Report().Limits["tickets"]; n != 1 {
		t.Errorf("tickets: got %d, want 1", n)
	}
}

// TestExpiry: a connection ends with its token, unless it gets another of the same user.
func TestExpiry(t *testing.T) {
	d := openDoor(t, Config{})
	d.enter("/?access_token=alice/1/0.2").wantEnd("expiry", CloseUnauthorized)
	g := d.enter("/?access_token=alice/1/1")
	if got := g.ask("refresh bob/2/99"); got != "error: "+ErrSubject.Error() {
		t.Errorf("another user's token: got %q", got)
	}
	if got := g.ask("refresh nonsense"); !strings.Contains(got, "bad_signature") {
		t.Errorf("a wrong token: got %q", got)
	}
	if got := g.ask("refresh alice/2/99"); got != "done" {
		t.Errorf("a good token: got %q", got)
	}
	late := d.enter("/?access_token=alice/3/1.1") // expires after the first would have
	late.wantEnd("the later one", CloseUnauthorized)
	if got := g.ask("get x"); got != "" {
		t.Errorf("after the first token's time: got %q", got)
	}
	if _, err := d.app.Revoke(t.Context(), Who{TokenID: "2"}, time.Hour); err != nil {
		t.Fatal(err)
	}
	g.wantEnd("the new token revoked", CloseUnauthorized)
}

// TestRevokeAndKick: orders close the connections that they name and no others; what is revoked does not come back.
func TestRevokeAndKick(t *testing.T) {
	d := openDoor(t, Config{})
	alice, other := d.enter("/?access_token=alice/a1/99"), d.enter("/?access_token=alice/a2/99")
	bob, carol := d.enter("/?access_token=bob/b1/99"), d.enter("/?access_token=carol/c1/99")
	do := func(name string, closed int, err error) {
		t.Helper()
		if err != nil || closed != 1 {
			t.Errorf("%s: closed %d, %v, want 1", name, closed, err)
		}
	}
	closed, err := d.app.Revoke(t.Context(), Who{TokenID: "a1"}, time.Hour)
	do("revoke a token", closed, err)
	alice.wantEnd("the token's", CloseUnauthorized)
	if _, resp, err := d.dial("/?access_token=alice/a1/99", nil); err == nil || resp.StatusCode != 401 {
		t.Errorf("the token comes back: got %v, want 401", err)
	}
	if got := other.ask("get x"); got != "" {
		t.Errorf("another token of the user: got %q", got)
	}
	closed, err = d.app.Kick(t.Context(), Who{Conn: bob.Conn}, "out")
	do("kick a connection", closed, err)
	bob.wantEnd("the connection", CloseKicked)
	if again := d.enter("/?access_token=bob/b1/99&session=" + bob.Session.String()); !again.Resumed {
		t.Error("a kicked connection: its session is gone")
	}
	closed, err = d.app.Kick(t.Context(), Who{Session: carol.Session}, "out")
	do("kick a session", closed, err)
	carol.wantEnd("the session's", CloseKicked)
	if again := d.enter("/?access_token=carol/c1/99&session=" + carol.Session.String()); again.Resumed {
		t.Error("a kicked session is resumed")
	}
	keep := d.enter("/?access_token=alice/a3/99")
	closed, err = d.app.Kick(t.Context(), Who{User: "alice", Except: keep.Conn}, "out")
	do("kick a user but for one connection", closed, err)
	other.wantEnd("the user's", CloseKicked)
	if got := keep.ask("get x"); got != "" {
		t.Errorf("the excepted one: got %q", got)
	}
	closed, err = d.app.Revoke(t.Context(), Who{User: "alice"}, time.Hour)
	do("revoke a user", closed, err)
	keep.wantEnd("the revoked user's", CloseUnauthorized)
	for name, w := range map[string]Who{"nobody": {}, "two": {User: "a", TokenID: "b"}} {
		if _, err := d.app.Kick(t.Context(), w, ""); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestSessionsOfConnections: a session outlives its connection, for its user only, and one connection has it at a time.
func TestSessionsOfConnections(t *testing.T) {
	d := openDoor(t, Config{Sessions: Sessions{MaxPerUser: 3}})
	g := d.enter("/?access_token=alice/1/99")
	if g.Session.IsZero() || g.Resumed {
		t.Fatalf("got %+v, want a new session", g.greeted)
	}
	if got := g.ask("set color blue"); got != "done" {
		t.Errorf("set: got %q", got)
	}
	again := d.enter("/?access_token=alice/2/99&session=" + g.Session.String())
	g.wantEnd("the first connection", CloseReplaced)
	if again.Session != g.Session || !again.Resumed || again.Query != "" {
		t.Errorf("got %+v, want session %v resumed, and no query", again.greeted, g.Session)
	}
	if got := again.ask("get color"); got != "blue" {
		t.Errorf("get: got %q, want blue", got)
	}
	for name, target := range map[string]string{
		"another user": "/?access_token=bob/3/99&session=" + g.Session.String(),
		"nobody":       "/?session=" + g.Session.String(),
		"nonsense":     "/?access_token=bob/3/99&session=xyz",
	} {
		if thief := d.enter(target); thief.Resumed || thief.Session == g.Session {
			t.Errorf("%s: got %+v, want a new session", name, thief.greeted)
		}
	}
	d.enter("/?access_token=alice/4/99")
	d.enter("/?access_token=alice/5/99")
	d.enter("/?access_token=alice/6/99")
	again.wantEnd("the oldest of too many", CloseTooMany)
}

// TestTooManySessionsRefused: a user who has as many connected sessions as it may is told so.
func TestTooManySessionsRefused(t *testing.T) {
	d := openDoor(t, Config{Sessions: Sessions{MaxPerUser: 1, RefuseNew: true}})
	g := d.enter("/?access_token=alice/1/99")
	if _, resp, err := d.dial("/?access_token=alice/2/99", nil); err == nil || resp.StatusCode != 429 {
		t.Errorf("got %v, want 429", err)
	}
	if got := g.ask("get x"); got != "" {
		t.Errorf("the first: got %q", got)
	}
}

// TestPermit: claims decide about topics, for clients and not for the application.
func TestPermit(t *testing.T) {
	d := openDoor(t, Config{Auth: Auth{
		Permit: func(id *auth.Identity, a auth.Action, topic string) bool {
			return id == nil || a == auth.ActionSubscribe && topic == "news"
		},
	}})
	g := d.enter("/?access_token=alice/1/99")
	for text, want := range map[string]string{
		"subscribe news": "done", "subscribe secrets": "error: " + ErrForbidden.Error(),
		"publish news": "error: " + ErrForbidden.Error(),
	} {
		if got := g.ask(text); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestTooManyAuthorizing: handshakes beyond the bound are told to come back, and the others go on.
func TestTooManyAuthorizing(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{}, 8)
	d := openDoor(t, Config{MaxAuthorizing: 2, Auth: Auth{
		Verifier: auth.VerifierFunc(func(ctx context.Context, token string) (*auth.Identity, error) {
			entered <- struct{}{}
			<-gate
			return fakeTokens(ctx, token)
		}),
	}})
	got := make(chan error, 2)
	for i := range 2 {
		go func() { // ends with the dial
			_, _, err := d.dial(fmt.Sprintf("/?access_token=u%d/1/99", i), nil)
			got <- err
		}()
	}
	<-entered
	<-entered
	_, resp, err := d.dial("/?access_token=late/1/99", nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third of two: got %v, want 503 with Retry-After", err)
	}
	close(gate)
	for range 2 {
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
	if n := d.app.role.Load().worker.Report().Limits["authorizing"]; n != 1 {
		t.Errorf("the limit was hit %d times, want 1", n)
	}
}
