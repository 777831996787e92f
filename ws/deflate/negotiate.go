package deflate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/expedite-go/expedite/ws"
)

// Name is the name of the extension. RFC 7692 §7.
const Name = "permessage-deflate"

const (
	minBits = 8
	maxBits = 15
)

// Params are the agreed parameters of a connection. RFC 7692 §7.1.
type Params struct {
	// A side without context takeover compresses each message by itself.
	ServerNoContextTakeover, ClientNoContextTakeover bool
	// The base-2 logarithms of the windows with which the sides compress, from 8 to 15.
	ServerMaxWindowBits, ClientMaxWindowBits uint8
}

// Pack returns p as a byte, for use as a key or in a saved state. The format does not change.
func (p Params) Pack() uint8 {
	b := p.ServerMaxWindowBits&7 | p.ClientMaxWindowBits&7<<3 // 8 to 15 are 0 to 7
	if p.ServerNoContextTakeover {
		b |= 1 << 6
	}
	if p.ClientNoContextTakeover {
		b |= 1 << 7
	}
	return b
}

// Unpack returns the parameters from which Pack has made b. Every byte is valid.
func Unpack(b uint8) Params {
	return Params{
		ServerNoContextTakeover: b&(1<<6) != 0, ClientNoContextTakeover: b&(1<<7) != 0,
		ServerMaxWindowBits: minBits + b&7, ClientMaxWindowBits: minBits + b>>3&7,
	}
}

// Config is what one side of a connection wants. The zero value compresses each message by itself, with the largest
// windows.
type Config struct {
	// Takeover lets messages refer to earlier ones, in both directions, if the peer agrees.
	Takeover bool
	// The base-2 logarithms of the largest windows, from 8 to 15; 0 means 15. The window of the peer decides how much
	// has to be stored per connection with Takeover.
	ServerMaxWindowBits, ClientMaxWindowBits uint8
}

func (c Config) serverBits() uint8 { return window(c.ServerMaxWindowBits) }
func (c Config) clientBits() uint8 { return window(c.ClientMaxWindowBits) }

func window(bits uint8) uint8 {
	if bits == 0 {
		return maxBits
	}
	return min(max(bits, minBits), maxBits)
}

// Accept chooses from the offers of a client, which are the values of all its Sec-WebSocket-Extensions fields. It takes
// the first offer of permessage-deflate that is valid; RFC 7692 §7.1 declines invalid ones. It returns the agreed
// parameters and the value of the server's Sec-WebSocket-Extensions. If nothing can be agreed on, ok is false and the
// connection goes on without compression. If the syntax of a value is wrong, ok is false too;
// ws.Request.Negotiate has refused the handshake then.
func (c Config) Accept(offers []string) (p Params, answer string, ok bool) {
	list, err := ws.ParseExtensions(offers)
	if err != nil {
		return Params{}, "", false
	}
	for _, e := range list {
		if e.Name != Name {
			continue
		}
		if o, err := parse(e, true); err == nil {
			p, answer = c.answer(o)
			return p, answer, true
		}
	}
	return Params{}, "", false
}

// answer decides about a valid offer. A server may answer all parameters except client_max_window_bits without them
// being offered.
func (c Config) answer(o params) (p Params, answer string) {
	p = Params{
		ServerNoContextTakeover: o.serverNoTakeover || !c.Takeover, // §7.1.1.1
		ClientNoContextTakeover: o.clientNoTakeover || !c.Takeover, // §7.1.1.2
		ServerMaxWindowBits:     c.serverBits(),
		ClientMaxWindowBits:     maxBits,
	}
	if o.serverBits != 0 {
		p.ServerMaxWindowBits = min(p.ServerMaxWindowBits, o.serverBits)
	}
	switch {
	case o.clientBits != 0: // §7.1.2.2: the client can be limited, and limits itself to the value that it names
		p.ClientMaxWindowBits = min(c.clientBits(), o.clientBits)
	case c.clientBits() < maxBits:
		p.ClientNoContextTakeover = true // its window cannot be limited, so that storing it would exceed ours
	}
	var b strings.Builder
	b.WriteString(Name)
	if p.ServerNoContextTakeover {
		b.WriteString("; " + serverNoTakeover)
	}
	if p.ClientNoContextTakeover {
		b.WriteString("; " + clientNoTakeover)
	}
	if o.serverBits != 0 || p.ServerMaxWindowBits < maxBits { // §7.1.2.1
		fmt.Fprintf(&b, "; %s=%d", serverMaxBits, p.ServerMaxWindowBits)
	}
	if p.ClientMaxWindowBits < maxBits {
		fmt.Fprintf(&b, "; %s=%d", clientMaxBits, p.ClientMaxWindowBits)
	}
	return p, b.String()
}

// Offer returns the value of a client's Sec-WebSocket-Extensions. Agreed understands the answer to it.
func (c Config) Offer() string {
	var b strings.Builder
	b.WriteString(Name)
	if !c.Takeover {
		b.WriteString("; " + serverNoTakeover + "; " + clientNoTakeover)
	}
	if bits := c.serverBits(); bits < maxBits {
		fmt.Fprintf(&b, "; %s=%d", serverMaxBits, bits)
	}
	b.WriteString("; " + clientMaxBits)
	if bits := c.clientBits(); bits < maxBits {
		fmt.Fprintf(&b, "=%d", bits)
	}
	return b.String()
}

// Agreed checks a server's answer to Offer: the value of its Sec-WebSocket-Extensions, as in ws.Handshake. If the
// answer is empty, the server has declined, and ok is false. After an error the client has to fail the connection. RFC
// 7692 §7.1.
func (c Config) Agreed(answer string) (p Params, ok bool, err error) {
	list, err := ws.ParseExtensions([]string{answer})
	switch {
	case err != nil:
		return Params{}, false, fmt.Errorf("deflate: %w", err)
	case len(list) == 0:
		return Params{}, false, nil
	case len(list) > 1:
		return Params{}, false, errors.New("deflate: the server answers more than one extension, want " + Name)
	case list[0].Name != Name:
		return Params{}, false, fmt.Errorf("deflate: the server answers %q, which was not offered", list[0].Name)
	}
	a, err := parse(list[0], false)
	switch {
	case err != nil:
		return Params{}, false, err
	case !c.Takeover && !a.serverNoTakeover: // §7.1.1.1
		return Params{}, false, errors.New("deflate: the server does not answer " + serverNoTakeover)
	case c.serverBits() < maxBits && (a.serverBits == 0 || a.serverBits > c.serverBits()): // §7.1.2.1
		return Params{}, false, fmt.Errorf("deflate: the server does not answer %s of at most %d", serverMaxBits,
			c.serverBits())
	case a.clientBits > c.clientBits(): // §7.1.2.2
		return Params{}, false, fmt.Errorf("deflate: the server answers a larger %s than %d", clientMaxBits,
			c.clientBits())
	}
	p = Params{
		ServerNoContextTakeover: a.serverNoTakeover, ClientNoContextTakeover: a.clientNoTakeover || !c.Takeover,
		ServerMaxWindowBits: maxBits, ClientMaxWindowBits: c.clientBits(),
	}
	if a.serverBits != 0 {
		p.ServerMaxWindowBits = a.serverBits
	}
	if a.clientBits != 0 {
		p.ClientMaxWindowBits = a.clientBits
	}
	return p, true, nil
}

// The registered parameters. RFC 7692 §7.1.
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverMaxBits    = "server_max_window_bits"
	clientMaxBits    = "client_max_window_bits"
)

// params are the parameters of an offer or an answer. Bits are 0 if the parameter is missing.
type params struct {
	serverNoTakeover, clientNoTakeover bool
	serverBits, clientBits             uint8
}

// parse checks the parameters of an offer or an answer. It is invalid if it has an unknown parameter, one of them
// twice, or an invalid value. RFC 7692 §7.1.
func parse(e ws.Extension, offer bool) (o params, err error) {
	for _, f := range e.Params {
		var twice, valid bool
		switch f.Name {
		case serverNoTakeover:
			twice, o.serverNoTakeover, valid = o.serverNoTakeover, true, f.Value == ""
		case clientNoTakeover:
			twice, o.clientNoTakeover, valid = o.clientNoTakeover, true, f.Value == ""
		case serverMaxBits:
			twice = o.serverBits != 0
			o.serverBits, valid = parseBits(f.Value)
		case clientMaxBits:
			twice = o.clientBits != 0
			if f.Value == "" && offer { // §7.1.2.2: only a client may leave the value out
				o.clientBits, valid = maxBits, true
			} else {
				o.clientBits, valid = parseBits(f.Value)
			}
		default:
			return params{}, fmt.Errorf("deflate: unknown parameter %q", f.Name)
		}
		switch {
		case twice:
			return params{}, fmt.Errorf("deflate: parameter %s twice", f.Name)
		case !valid:
			return params{}, fmt.Errorf("deflate: invalid value %q of %s", f.Value, f.Name)
		}
	}
	return o, nil
}

// parseBits parses a decimal number from 8 to 15 without leading zeros. RFC 7692 §7.1.2.
func parseBits(s string) (bits uint8, ok bool) {
	switch {
	case len(s) == 1 && s[0] >= '8' && s[0] <= '9':
		return s[0] - '0', true
	case len(s) == 2 && s[0] == '1' && s[1] >= '0' && s[1] <= '5':
		return 10 + s[1] - '0', true
	}
	return 0, false
}
