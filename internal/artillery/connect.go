package artillery

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/loadtest"
)

// replyTimeout is how long artillery waits for a reply.
const replyTimeout = 10 * time.Second

// connection holds the connection settings of users.
type connection struct {
	header       *node // rendered for each user; compiled where the variables are known
	subprotocols []string
	reply        time.Duration
	handshake    time.Duration
	insecure     bool
}

// unsupported are the options of artillery's client that this package cannot follow, with the reason.
var unsupported = map[string]string{
	"proxy": "connections through a proxy are not made here",
	"agent": "connections through an agent are not made here",
	"ca":    "the flag --ca of expedite bench names authorities of your own; or rejectUnauthorized: false on this machine",
	"cert":  "client certificates are not sent", "key": "client certificates are not sent",
	"pfx": "client certificates are not sent", "passphrase": "client certificates are not sent",
	"servername": "the name of the server is that of the URL",
	"function":   "functions of a processor are not supported: Node.js is not available",
}

// understood returns the options that are followed, or that make no difference to the load.
func understood() []string {
	return []string{
		"subprotocols", "headers", "timeout", "rejectUnauthorized", "handshakeTimeout", "origin", "perMessageDeflate",
		"maxPayload", "followRedirects", "maxRedirects", "protocolVersion", "skipUTF8Validation",
	}
}

// connection compiles config.ws, config.tls and config.timeout.
func (c *compiler) connection(config *node) (o connection, err error) {
	o.reply = replyTimeout
	for _, key := range []string{"tls", "ws"} {
		if n := config.get(key); n != nil && n.kind != null {
			if err := c.options(n, &o); err != nil {
				return o, err
			}
		}
	}
	if n := config.get("timeout"); n != nil {
		o.reply, err = c.timeout(n, time.Second)
	}
	return o, err
}

// options compiles an object with options into o.
func (c *compiler) options(n *node, o *connection, more ...string) (err error) {
	for _, f := range n.fields {
		if why := unsupported[f.key]; why != "" {
			return f.value.fault("%s", why)
		}
	}
	if err := n.known(append(understood(), more...)...); err != nil {
		return err
	}
	if v := n.get("followRedirects"); v.truthy() {
		return v.fault("redirects are not followed: use the final URL")
	}
	if v := n.get("protocolVersion"); v != nil && v.num != 13 {
		return v.fault("only version 13 is supported")
	}
	if v := n.get("timeout"); v != nil {
		if o.reply, err = c.timeout(v, time.Second); err != nil {
			return err
		}
	}
	if v := n.get("handshakeTimeout"); v != nil {
		if o.handshake, err = c.timeout(v, time.Millisecond); err != nil {
			return err
		}
	}
	if v := n.get("rejectUnauthorized"); v != nil {
		o.insecure = v.kind == boolean && !v.truth
		c.plan.Insecure = c.plan.Insecure || o.insecure
	}
	if v := n.get("subprotocols"); v != nil {
		o.subprotocols = nil
		for _, p := range v.listed() {
			name, err := c.config.fixedText(p)
			if err != nil {
				return err
			}
			o.subprotocols = append(o.subprotocols, name)
		}
	}
	if v := n.get("headers"); v != nil {
		if err := v.is(object); err != nil {
			return err
		}
		o.header = v
	}
	if v := n.get("origin"); v != nil {
		o.header = withField(o.header, n, field{"Origin", v.line, v})
	}
	return nil
}

// withField returns a copy of header with one more field.
func withField(header, where *node, f field) *node {
	out := node{kind: object, file: where.file, line: where.line, path: where.path}
	if header != nil {
		out = *header
		out.fields = slices.Clone(header.fields)
	}
	out.set(f)
	return &out
}

func (c *compiler) timeout(n *node, unit time.Duration) (time.Duration, error) {
	v, err := c.config.fixedNumber(n)
	if err != nil {
		return 0, err
	}
	d, ok := fromFloat(v * float64(unit))
	if !ok || d <= 0 {
		return 0, n.fault("want a time above 0")
	}
	return d, nil
}

// connect compiles the first step of a scenario. If n is nil, the settings of config apply.
func (f *flow) connect(n *node) (loadtest.Connect, error) {
	o := f.c.ws
	url := &node{kind: text, text: "{{ target }}", file: f.c.file}
	if n != nil {
		url.line, url.path = n.line, n.path
	}
	switch {
	case !n.truthy():
	case n.kind == text:
		url = n
	case n.kind == object:
		if err := f.c.options(n, &o, "target", "url"); err != nil {
			return loadtest.Connect{}, err
		}
		for _, key := range []string{"url", "target"} {
			if v := n.get(key); v != nil {
				url = v
			}
		}
	default:
		return loadtest.Connect{}, n.fault("want a URL or an object, got %s", n.kind)
	}
	if err := url.is(text); err != nil {
		return loadtest.Connect{}, err
	}
	f.reply = o.reply
	t, err := f.names.parse(url, url.text)
	if err != nil {
		return loadtest.Connect{}, err
	}
	step := loadtest.Connect{URL: address{t}, Subprotocols: o.subprotocols}
	if prefix := t.prefix(); prefix != "" || t.constant() {
		fixed, err := scheme(prefix)
		if err != nil {
			return step, url.fault("%s", err)
		}
		if t.constant() {
			step.URL = loadtest.Text(fixed)
		}
	}
	return step, f.header(&step, o.header)
}

// header compiles header fields. A field that lists subprotocols adds to the step's subprotocols.
func (f *flow) header(step *loadtest.Connect, n *node) error {
	for _, field := range n.fieldsOf() {
		v := field.value
		if v.kind == list || v.kind == object || v.kind == null {
			return v.fault("want text, got %s", v.kind)
		}
		t, err := f.names.parse(v, string(appendText(nil, v.value())))
		if err != nil {
			return err
		}
		if !strings.EqualFold(field.key, "Sec-WebSocket-Protocol") {
			step.Header = append(step.Header, loadtest.HeaderTemplate{Name: field.key, Value: t.loadtest()})
			continue
		}
		if !t.constant() {
			return v.fault("subprotocols are the same for all users")
		}
		b, _ := t.Append(nil, nil)
		step.Subprotocols = slices.Clone(step.Subprotocols)
		for p := range strings.SplitSeq(string(b), ",") {
			if p = strings.TrimSpace(p); p != "" && !slices.Contains(step.Subprotocols, p) {
				step.Subprotocols = append(step.Subprotocols, p)
			}
		}
	}
	return nil
}

// address is the URL that a template renders.
type address struct{ t *template }

// Append implements loadtest.Template.
func (a address) Append(dst []byte, v *loadtest.Vars) ([]byte, error) {
	b, err := a.t.Append(nil, v)
	if err != nil {
		return dst, err
	}
	url, err := scheme(string(b))
	return append(dst, url...), err
}

var _ loadtest.Template = address{}

// scheme returns the URL with the scheme ws or wss.
func scheme(url string) (string, error) {
	name, rest, ok := strings.Cut(url, "://")
	switch strings.ToLower(name) {
	case "ws", "wss":
	case "http":
		name = "ws"
	case "https":
		name = "wss"
	default:
		ok = false
	}
	if !ok {
		return "", errors.New(`want a URL like ws://127.0.0.1:8080/echo, or "{{ target }}/echo"`)
	}
	return strings.ToLower(name) + "://" + rest, nil
}
