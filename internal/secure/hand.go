package secure

import (
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"errors"

	"github.com/expedite-go/expedite/internal/reactor"
	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// keyLog receives the traffic secrets of one connection from crypto/tls, which is the only way to get them. A line is
// a label, the client's random, and a secret in hexadecimal.
type keyLog struct{ client, server []byte }

// Write implements io.Writer.
func (l *keyLog) Write(line []byte) (int, error) {
	defer clear(line)
	label, rest, _ := bytes.Cut(line, []byte(" "))
	var to *[]byte
	switch string(label) {
	case "CLIENT_TRAFFIC_SECRET_0":
		to = &l.client
	case "SERVER_TRAFFIC_SECRET_0":
		to = &l.server
	default:
		return len(line), nil
	}
	_, digits, _ := bytes.Cut(bytes.TrimSpace(rest), []byte(" "))
	secret := make([]byte, hex.DecodedLen(len(digits)))
	if _, err := hex.Decode(secret, digits); err != nil {
		return 0, err
	}
	*to = secret
	return len(line), nil
}

// erase overwrites the secrets.
func (l *keyLog) erase() {
	clear(l.client)
	clear(l.server)
}

var errKeys = errors.New("secure: crypto/tls has not told the keys of a connection")

// hand returns what the event loop needs to go on after a handshake of TLS 1.3.
func (c *Conn) hand(state *tls.ConnectionState) (*reactor.Secured, error) {
	if c.log.client == nil || c.log.server == nil || c.raw.left != 0 {
		return nil, errKeys
	}
	r, errR := tlsrecord.NewReader(state.CipherSuite, c.log.client)
	w, errW := tlsrecord.NewWriter(state.CipherSuite, c.log.server, 0)
	err := errors.Join(errR, errW)
	if err == nil {
		err = countSent(w, c.raw.written)
	}
	if err != nil {
		return nil, err
	}
	ahead := append([]byte(nil), c.raw.ahead...) // which is in a buffer for others
	return &reactor.Secured{Conn: c.raw.Conn, Ahead: ahead, Reader: r, Writer: w, State: state}, nil
}

// countSent tells w which of the records that were written in a handshake are sealed with its keys: those of session
// tickets, which crypto/tls sends before the client has finished.
func countSent(w *tlsrecord.Writer, written []byte) error {
	for len(written) >= tlsrecord.HeaderSize {
		size := tlsrecord.HeaderSize + int(written[3])<<8 + int(written[4])
		if len(written) < size {
			return errKeys
		}
		w.Sent(written[:size])
		written = written[size:]
	}
	return nil
}
