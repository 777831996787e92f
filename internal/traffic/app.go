package traffic

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/session"
)

// The endpoints of the application.
const (
	pathEcho  = "/echo"
	pathWork  = "/work"
	pathTopic = "/topic"
	pathUser  = "/user"
	pathCount = "/count"
	pathNote  = "/note"
)

// failure begins what the application answers when it could not do what it was asked. No client expects that.
const failure = "error: "

// Routes registers the application:
//
//   - /echo answers a message with itself, on the event loop; /work does so on a goroutine;
//   - /topic?topic=T subscribes to T, and publishes to T what the client sends;
//   - /user tells the client its id first, and sends on each message to the connection named in its field "to";
//   - /count answers a message with "<number> opens=<Open callbacks> <message>". Both numbers are the application's own
//     state of the connection, which it carries from one process to the next by Suspend and Resume. The client's token,
//     see Verify, must still name the user of its query, and its session must hold what Open has written.
//   - /note sets the value "note" of the session to each message, and says what became of that; an empty message
//     is answered with the value.
//
// It must be called in each process before Run. Open and Close callbacks are noted as AuditVariable says.
func Routes(app *expedite.App) {
	a := openAudit()
	echo := func(c *expedite.Conn, m expedite.Message) { c.Send(m) }
	app.Handle(pathEcho, a.handler(expedite.Handler{Inline: true, Message: echo}))
	app.Handle(pathWork, a.handler(expedite.Handler{Message: echo}))
	app.Handle(pathTopic, a.handler(expedite.Handler{
		Inline: true,
		Open:   func(c *expedite.Conn) { complain(c, c.Subscribe(topicOf(c))) },
		// The topic is read anew from the query: Data does not follow a connection into another process by itself.
		Message: func(c *expedite.Conn, m expedite.Message) { complain(c, c.Publish(topicOf(c), m)) },
	}))
	app.Handle(pathUser, a.handler(expedite.Handler{
		Open:    func(c *expedite.Conn) { c.Send(expedite.Text(c.ID().String())) },
		Message: func(c *expedite.Conn, m expedite.Message) { complain(c, pass(app, m)) },
	}))
	app.Handle(pathCount, a.handler(countHandler()))
	app.Handle(pathNote, a.handler(expedite.Handler{Session: true, Message: note}))
}

// handler makes h note its Open and Close.
func (a *audit) handler(h expedite.Handler) expedite.Handler {
	open := h.Open
	h.Open = func(c *expedite.Conn) {
		a.note("open", c.ID())
		if open != nil {
			open(c)
		}
	}
	h.Close = func(c *expedite.Conn, _ *expedite.CloseError) { a.note("close", c.ID()) }
	return h
}

func topicOf(c *expedite.Conn) string { return c.Query().Get("topic") }

// complain tells the client what went wrong, which makes it a bad message in the client's report.
func complain(c *expedite.Conn, err error) {
	if err != nil {
		c.Send(expedite.Text(failure + err.Error()))
	}
}

// pass sends a message to the connection that it names.
func pass(app *expedite.App, m expedite.Message) error {
	var to struct{ To expedite.ID }
	if err := json.Unmarshal(m.Bytes(), &to); err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	return app.Send(to.To, m)
}

// count is the application's own state of a connection on /count.
type count struct{ opens, messages uint64 }

// Verify knows the tokens of the clients of /count: "token-" and the user, or "brief-" and the user for a token that
// expires soon. Config.Auth.Verifier.
func Verify(_ context.Context, token string) (*auth.Identity, error) {
	kind, user, _ := strings.Cut(token, "-")
	switch kind {
	case "token":
		return &auth.Identity{User: user, TokenID: token, Expiry: time.Now().Add(time.Hour)}, nil
	case "brief":
		return &auth.Identity{User: user, TokenID: token, Expiry: time.Now().Add(briefLife)}, nil
	default:
		return nil, &auth.Error{Reason: auth.ReasonBadSignature}
	}
}

// briefLife is that of a brief token: longer than a reload.
const briefLife = 3 * time.Second

// sessionTimeout bounds what a session is asked for, and sessionShare is how many messages there are to each question.
const (
	sessionTimeout = 10 * time.Second
	sessionShare   = 8
)

// greet writes into the session of a connection who it is.
func greet(c *expedite.Conn) error {
	if c.Query().Get("user") == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sessionTimeout)
	defer cancel()
	return c.Session().Set(ctx, "conn", []byte(c.ID().String()))
}

// recognize says whether a connection is still whose it was. A client without a user has nothing to lose, and one that
// the build before has let in is not known.
func recognize(c *expedite.Conn, messages uint64) error {
	q := c.Query()
	if q.Get("user") == "" || q.Has("access_token") {
		return nil
	}
	if id := c.Identity(); c.User() != q.Get("user") || id == nil || id.TokenID != "token-"+c.User() {
		return fmt.Errorf("user %q, want %q", c.User(), q.Get("user"))
	}
	if messages%sessionShare != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sessionTimeout)
	defer cancel()
	got, err := c.Session().Get(ctx, "conn")
	if err == nil && string(got) != c.ID().String() {
		err = fmt.Errorf("its session is of connection %q, want %v", got, c.ID())
	}
	return err
}

func countHandler() expedite.Handler {
	return expedite.Handler{
		Session: true,
		Open: func(c *expedite.Conn) {
			countOf(c).opens++
			complain(c, greet(c))
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			n := countOf(c)
			n.messages++
			if err := recognize(c, n.messages); err != nil {
				complain(c, err)
				return
			}
			b := appendCount(nil, n.messages, n.opens)
			c.Send(expedite.TextBytes(append(b, m.Bytes()...)))
		},
		Suspend: func(c *expedite.Conn) ([]byte, error) { return countOf(c).append(nil), nil },
		Resume: func(c *expedite.Conn, state []byte) error {
			n, err := parseCount(state)
			if err != nil {
				return err
			}
			c.SetData(&n)
			return nil
		},
	}
}

// append appends the state that goes with the connection into another process.
func (n *count) append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, n.opens), n.messages)
}

func parseCount(b []byte) (n count, err error) {
	if len(b) != 16 {
		return n, fmt.Errorf("traffic: state of %d bytes, want 16", len(b))
	}
	return count{opens: binary.LittleEndian.Uint64(b), messages: binary.LittleEndian.Uint64(b[8:])}, nil
}

// countOf is the state of a connection; a fresh one if it has none, in which a wrong number of opens will show.
func countOf(c *expedite.Conn) *count {
	n, ok := c.Data().(*count)
	if !ok {
		n = new(count)
		c.SetData(n)
	}
	return n
}

const opensField = " opens="

// note is the Message callback of /note.
func note(c *expedite.Conn, m expedite.Message) {
	ctx, cancel := context.WithTimeout(context.Background(), sessionTimeout)
	defer cancel()
	if len(m.Bytes()) == 0 {
		b, err := c.Session().Get(ctx, "note")
		complain(c, err)
		c.Send(expedite.TextBytes(b))
		return
	}
	switch err := c.Session().Set(ctx, "note", m.Bytes()); {
	case err == nil:
		c.Send(expedite.Text(noteStored))
	case errors.Is(err, session.ErrDeferred):
		c.Send(expedite.Text(noteDeferred))
	default:
		complain(c, err)
	}
}

// What becomes of a note.
const (
	noteStored   = "stored"
	noteDeferred = "deferred"
)

// appendCount appends what stands before the message in an answer of /count.
func appendCount(dst []byte, messages, opens uint64) []byte {
	dst = strconv.AppendUint(dst, messages, 10)
	dst = append(dst, opensField...)
	return append(strconv.AppendUint(dst, opens, 10), ' ')
}
