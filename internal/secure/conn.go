package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/reactor"
)

// Conn is the server's end of a TLS connection. It implements [reactor.Handshaker].
type Conn struct {
	*tls.Conn
	raw    *gated
	server *Server
	log    *keyLog // nil: crypto/tls reads and writes all records
}

// Handshake does the handshake, while it holds a token of the gate except when it waits for the client. If the event
// loop is to go on alone, it returns the keys.
func (c *Conn) Handshake() (*reactor.Secured, error) {
	began := time.Now()
	if err := c.raw.enter(); err != nil {
		c.server.count(0, err)
		return nil, err
	}
	defer c.raw.leave()
	c.raw.begin(&c.server.buffers)
	defer c.raw.end(&c.server.buffers)
	if c.log != nil {
		defer c.log.erase()
	}
	err := c.Conn.Handshake()
	if bad, ok := errors.AsType[tls.RecordHeaderError](err); ok && bad.Conn != nil && mayBeHTTP(bad.RecordHeader) {
		c.server.plain.Add(1)
		_, _ = c.raw.Write(plainAnswer()) // the connection ends in any case
		return nil, ErrNotTLS
	}
	state := c.ConnectionState()
	if err == nil && state.NegotiatedProtocol == challengeProtocol {
		c.server.challenges.Add(1)
		_ = c.Conn.Close()        // RFC 8737 §3: nothing follows the handshake
		return nil, net.ErrClosed // no failure that anybody should read of
	}
	if err != nil && state.NegotiatedProtocol != challengeProtocol {
		err = c.server.noCertificate(err, state.ServerName)
	}
	c.server.count(state.Version, err)
	if err == nil {
		c.server.timing.add(state.CipherSuite, time.Since(began))
	}
	if err = c.explain(err); err != nil || c.log == nil || state.Version != tls.VersionTLS13 || c.raw.forgot {
		return nil, err
	}
	return c.hand(&state)
}

// explain returns the alert by which a client has ended the handshake, instead of err: a client of OpenSSL that does
// not trust the certificate sends it in the clear, where TLS 1.3 has encrypted records, and crypto/tls cannot read it.
func (c *Conn) explain(err error) error {
	const badRecordMAC = tls.AlertError(20)
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "local error" || op.Err.Error() != badRecordMAC.Error() || c.raw.alert == 0 {
		return err
	}
	return &net.OpError{Op: "remote error", Err: tls.AlertError(c.raw.alert)} // as for other alerts
}

// Abandon ends a handshake at once, also one that waits for a token: a crowd of clients that have left must not keep
// those waiting that have not.
func (c *Conn) Abandon() { c.raw.abandon() }

// BeforeTimeout sets what decides whether a write that has reached its deadline goes on; written bytes have left since
// it began, or went on. Nil ends that. It is safe for concurrent use.
func (c *Conn) BeforeTimeout(goOn func(written int) bool) {
	if goOn == nil {
		c.raw.patient.Store(nil)
		return
	}
	c.raw.patient.Store(&goOn)
}

// Waited returns how long the handshake has waited for its turns. The time limit of the client does not include it.
func (c *Conn) Waited() time.Duration {
	n := c.raw.waited.Load()
	if n < 0 { // it waits, since the time of -n
		n += reactor.Monotonic()
	}
	return time.Duration(max(n, 0))
}

// plainAnswer is for a client that speaks HTTP without TLS. RFC 9110 §15.5.1.
func plainAnswer() []byte {
	const text = "this port speaks TLS: use https:// or wss:// to reach it\n"
	return fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"+
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

// mayBeHTTP reports whether an HTTP client may have sent the first bytes of a connection.
func mayBeHTTP(first [5]byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "PATCH", "DELET", "CONNE"} {
		if strings.HasPrefix(method, string(first[:])) {
			return true
		}
	}
	return false
}
