package ws

import (
	"errors"
	"strings"
)

// Extension is an element of Sec-WebSocket-Extensions: a client's offer, or a server's answer. RFC 6455 §9.1.
type Extension struct {
	Name   string
	Params []Field // in order, repeated ones included; Value is empty if the parameter has none
}

var errExtensions = errors.New("malformed Sec-WebSocket-Extensions")

// ParseExtensions parses the values of all Sec-WebSocket-Extensions fields of a message. It skips empty elements of the
// list, and removes the quotes of quoted values. It fails if a value does not follow the grammar of RFC 6455 §9.1; the
// receiver must then fail the connection, whatever it knows of the extensions.
func ParseExtensions(values []string) ([]Extension, error) {
	var all []Extension
	for _, v := range values {
		p := extensionParser{rest: v}
		for {
			for p.skip(',') { // RFC 9110 §5.6.1.2
			}
			if p.rest == "" {
				break
			}
			e, ok := p.extension()
			if !ok || p.rest != "" && p.rest[0] != ',' {
				return nil, errExtensions
			}
			all = append(all, e)
		}
	}
	return all, nil
}

// extensionParser consumes a field value from its start.
type extensionParser struct{ rest string }

// skip consumes c and the white space around it. Without c, it consumes the white space before it only. White space is
// allowed around every separator: RFC 6455 §4.3 takes over the implied *LWS of RFC 2616.
func (p *extensionParser) skip(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	p.space()
	return true
}

func (p *extensionParser) space() { p.rest = strings.TrimLeft(p.rest, " \t") }

// extension consumes an element of the list.
func (p *extensionParser) extension() (e Extension, ok bool) {
	if e.Name = p.token(); e.Name == "" {
		return e, false
	}
	for p.skip(';') {
		f := Field{Name: p.token()}
		if f.Name == "" {
			return e, false
		}
		if p.skip('=') {
			if strings.HasPrefix(p.rest, `"`) {
				f.Value = p.quoted()
			} else {
				f.Value = p.token()
			}
			if f.Value == "" {
				return e, false
			}
		}
		e.Params = append(e.Params, f)
	}
	return e, true
}

// token consumes a token, or nothing.
func (p *extensionParser) token() string {
	n := 0
	for n < len(p.rest) && isTokenByte(p.rest[n]) {
		n++
	}
	t := p.rest[:n]
	p.rest = p.rest[n:]
	return t
}

// quoted consumes a quoted string and returns its value, which has to be a token, or "" otherwise. RFC 6455 §9.1.
func (p *extensionParser) quoted() string {
	var value []byte
	for i := 1; i < len(p.rest); i++ {
		c := p.rest[i]
		if c == '"' {
			p.rest = p.rest[i+1:]
			return string(value)
		}
		if c == '\\' && i+1 < len(p.rest) {
			i++
			c = p.rest[i]
		}
		if !isTokenByte(c) {
			return ""
		}
		value = append(value, c)
	}
	return ""
}
