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
	fields := bytes.Fields(line)
	if len(fields) == 3 {
		secret := make([]byte, hex.DecodedLen(len(fields[2])))
		if _, err := hex.Decode(secret, fields[2]); err != nil {
			return 0, err
		}
		switch string(fields[0]) {
		case "CLIENT_TRAFFIC_SECRET_0":
			l.client = secret
		case "SERVER_TRAFFIC_SECRET_0":
			l.server = secret
		default:
			clear(secret)
		}
	}
	clear(line)
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
	return &reactor.Secured{Conn: c.raw.Conn, Ahead: c.raw.ahead, Reader: r, Writer: w, State: state}, nil
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
