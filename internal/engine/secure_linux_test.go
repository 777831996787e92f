package engine

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/record"
)

// TestTurnedAwayBeforeTLS: a client beyond a limit that applies before TLS is closed without an answer, which it could
// not read, also behind a PROXY header.
func TestTurnedAwayBeforeTLS(t *testing.T) {
	for name, header := range map[string]string{"directly": "", "behind a header": proxy1("192.0.2.1:5000")} {
		t.Run(name, func(t *testing.T) {
			source := Source{Secure: func(conn net.Conn, _ []byte) net.Conn { return conn }}
			if header != "" {
				source.Proxies = behindHeader(t)
			}
			f := start(t, Config{
				MaxPerAddress: 1, HandshakeTimeout: time.Minute, Source: func(string) Source { return source },
			}, nil)
			first, second := f.connect(t, header), f.connect(t, header)
			until(t, "one of them is closed", func() bool { return f.Stats().Limits["per_address"] == 1 })
			ended := make(chan string, 2)
			for _, p := range []*peer{first, second} {
				go func() { // ends with the connection
					b := make([]byte, 100)
					n, err := p.conn.Read(b)
					ended <- fmt.Sprintf("%s%v", b[:n], err)
				}()
			}
			if got := <-ended; got != "EOF" {
				t.Errorf("got %q, want the end", got)
			}
		})
	}
}

// TestSealedStates: a connection with TLS never continues without its keys, in the clear.
func TestSealedStates(t *testing.T) {
	for _, c := range []struct {
		via    via
		sealed bool
	}{{0, false}, {viaSecure, true}, {viaSecure, false}, {0, true}} {
		b := append(record.AppendHeader([]byte{StateVersion}, tagPhase, 1), byte(phaseHead))
		b = append(record.AppendHeader(b, tagVia, 1), byte(c.via))
		if c.sealed {
			b = record.Append(b, tagTLS, "x")
		}
		if _, err := parseState(b); (err == nil) != (c.sealed == (c.via != 0)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
