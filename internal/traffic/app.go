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
	pathLast  = "/echo/last"
	pathWork  = "/work"
	pathTopic = "/topic"
	pathUser  = "/user"
	pathCount = "/count"
	pathNote  = "/note"
	pathKept  = "/kept"
	pathAway  = "/kept/inline"
)

// failure is the prefix of an answer that reports an error of the application. Every client treats it as a bad message.
const failure = "error: "

// Routes registers the application:
//
//   - /echo echoes each message on the event loop; /work does the same on a goroutine; /echo/last does it with a
//     CloseTimeout of 30 s, by which nobody should be cut off;
//   - /topic?topic=T subscribes the client to T and publishes its messages to T;
//   - /user sends the client its connection id first, then forwards each message to the connection named in the
//     message's field "to";
//   - /count answers a message with "<number> opens=<Open callbacks> <message>". Suspend and Resume carry both numbers,
//     the application's own state of the connection, from one process to the next. For a client with a user, the
//     identity (see Verify) must still match the user in the query, and the session must still hold the value written
//     by Open;
//   - /note stores each message as the value "note" of the session and answers with the outcome; an empty message is
//     answered with the stored value;
//   - /kept?topic=T&at=P subscribes the client to T from a position, tells the outcome, and publishes its messages to
//     T; /kept/inline does the same on the event loop. T must be one of Histories.
//
// Routes must be called in each process before Run. It records Open and Close callbacks as described at AuditVariable.
func Routes(app *expedite.App) {
	a := openAudit()
	echo := func(c *expedite.Conn, m expedite.Message) { c.Send(m) }
	app.Handle(pathEcho, a.handler(expedite.Handler{Inline: true, Message: echo}))
	app.Handle(pathLast, a.handler(expedite.Handler{Inline: true, Message: echo, CloseTimeout: 30 * time.Second}))
	app.Handle(pathWork, a.handler(expedite.Handler{Message: echo}))
	app.Handle(pathTopic, a.handler(expedite.Handler{
		Inline: true,
		Open:   func(c *expedite.Conn) { complain(c, c.Subscribe(topicOf(c))) },
		// The topic comes from the query, because Data does not move to another process by itself.
		Message: func(c *expedite.Conn, m expedite.Message) { complain(c, c.Publish(topicOf(c), m)) },
	}))
	app.Handle(pathUser, a.handler(expedite.Handler{
		Open:    func(c *expedite.Conn) { c.Send(expedite.Text(c.ID().String())) },
		Message: func(c *expedite.Conn, m expedite.Message) { complain(c, pass(app, m)) },
	}))
	app.Handle(pathCount, a.handler(countHandler()))
	kept := expedite.Handler{
		Open:      subscribeFrom,
		Message:   func(c *expedite.Conn, m expedite.Message) { complain(c, c.Publish(topicOf(c), m)) },
		Recovered: func(c *expedite.Conn, _ string, r expedite.Recovered) { tellRecovered(c, r) },
	}
	app.Handle(pathKept, a.handler(kept))
	kept.Inline = true
	app.Handle(pathAway, a.handler(kept))
	app.Handle(pathNote, a.handler(expedite.Handler{Session: true, Message: note}))
}

// Histories are rules for Config.History: messages on topics that begin with kept show their positions.
func Histories() []expedite.HistoryRule {
	return []expedite.HistoryRule{{
		Topics: "kept*", Messages: 1_000_000, For: time.Hour,
		Frame: func(_ string, at expedite.Position, m expedite.Message) expedite.Message {
			return expedite.Text(at.String() + " " + m.String())
		},
	}}
}

// outcome is the prefix of a message that tells the outcome of a recovery.
const outcome = "recovered "

func subscribeFrom(c *expedite.Conn) {
	var from expedite.Recover
	if at, err := expedite.ParsePosition(c.Query().Get("at")); err == nil {
		from.Epoch, from.Offset = at.Epoch, at.Offset
	}
	r, err := c.SubscribeFrom(topicOf(c), from)
	switch {
	case err != nil:
		complain(c, err)
	case !r.Pending:
		tellRecovered(c, r)
	}
}

func tellRecovered(c *expedite.Conn, r expedite.Recovered) {
	c.Send(expedite.Text(fmt.Sprintf("%s%v %d %s", outcome, r.OK, r.Missed, r.At)))
}

// handler returns h, extended to record its Open and Close callbacks.
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

// complain reports err to the client, which counts it as a bad message.
func complain(c *expedite.Conn, err error) {
	if err != nil {
		c.Send(expedite.Text(failure + err.Error()))
	}
}

// pass forwards m to the connection that it names.
func pass(app *expedite.App, m expedite.Message) error {
	var to struct{ To expedite.ID }
	if err := json.Unmarshal(m.Bytes(), &to); err != nil {
		return fmt.Errorf("traffic: %w", err)
	}
	return app.Send(to.To, m)
}

// count is the application's own state of a connection on /count.
type count struct{ opens, messages uint64 }

// Verify accepts the tokens of the clients of /count: "token-" followed by the user, or "brief-" followed by the user
// for a token that expires after briefLife. It is for use as Config.Auth.Verifier.
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

// briefLife is the lifetime of a brief token. It is longer than a reload takes.
const briefLife = 3 * time.Second

// sessionTimeout bounds each session operation. One in sessionShare messages checks the session.
const (
	sessionTimeout = 10 * time.Second
	sessionShare   = 8
)

// greet stores the connection's id in its session.
func greet(c *expedite.Conn) error {
	if c.Query().Get("user") == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sessionTimeout)
	defer cancel()
	return c.Session().Set(ctx, "conn", []byte(c.ID().String()))
}

// recognize returns an error if the connection's identity or session has changed. It skips clients without a user. It
// also skips connections that an earlier build without Verify accepted: their query still holds the access_token.
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

// append appends the encoded state, which moves with the connection to another process.
func (n *count) append(dst []byte) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(dst, n.opens), n.messages)
}

func parseCount(b []byte) (n count, err error) {
	if len(b) != 16 {
		return n, fmt.Errorf("traffic: state of %d bytes, want 16", len(b))
	}
	return count{opens: binary.LittleEndian.Uint64(b), messages: binary.LittleEndian.Uint64(b[8:])}, nil
}

// countOf returns the state of a connection, or a new one if it has none; the wrong number of opens then reveals the
// loss.
func countOf(c *expedite.Conn) *count {
	n, ok := c.Data().(*count)
	if !ok {
		n = new(count)
		c.SetData(n)
	}
	return n
}

const opensField = " opens="

// note implements the Message callback of /note.
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

// Answers of /note to a message that it was asked to store.
const (
	noteStored   = "stored"
	noteDeferred = "deferred"
)

// appendCount appends the prefix that /count puts before the message in its answer.
func appendCount(dst []byte, messages, opens uint64) []byte {
	dst = strconv.AppendUint(dst, messages, 10)
	dst = append(dst, opensField...)
	return append(strconv.AppendUint(dst, opens, 10), ' ')
}
