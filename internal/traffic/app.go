package traffic

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/expedite-go/expedite"
)

// The endpoints of the application.
const (
	pathEcho  = "/echo"
	pathWork  = "/work"
	pathTopic = "/topic"
	pathUser  = "/user"
	pathCount = "/count"
)

// failure begins what the application answers when it could not do what it was asked. No client expects that.
const failure = "error: "

// Routes registers the application:
//
//   - /echo answers a message with itself, on the event loop; /work does so on a goroutine;
//   - /topic?topic=T subscribes to T, and publishes to T what the client sends;
//   - /user tells the client its id first, and sends on each message to the connection named in its field "to";
//   - /count answers a message with "<number> opens=<Open callbacks> <message>". Both numbers are the application's own
//     state of the connection, which it carries from one process to the next by Suspend and Resume.
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

func countHandler() expedite.Handler {
	return expedite.Handler{
		Open: func(c *expedite.Conn) { countOf(c).opens++ },
		Message: func(c *expedite.Conn, m expedite.Message) {
			n := countOf(c)
			n.messages++
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

// appendCount appends what stands before the message in an answer of /count.
func appendCount(dst []byte, messages, opens uint64) []byte {
	dst = strconv.AppendUint(dst, messages, 10)
	dst = append(dst, opensField...)
	return append(strconv.AppendUint(dst, opens, 10), ' ')
}
