package engine

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// connectTLS is connect for a client with TLS. It returns the connection below, too.
func (f *fixture) connectTLS(t *testing.T, cfg *tls.Config, bytes string) (p *peer, raw net.Conn) {
	t.Helper()
	p = f.connect(t, "")
	raw = p.conn
	p.conn = tls.Client(raw, cfg)
	p.write([]byte(bytes))
	return p, raw
}

// halfRecord is a record of full length, of which a half is missing.
func halfRecord() []byte { return append([]byte{23, 3, 3, 0x40, 0x11}, make([]byte, 8<<10)...) }

// TestSealedBudgetReachesHTTP: clients that stop amidst records in the body of a request, which net/http reads, have to
// go before others lose a message. Clients that net/http serves and that hold nothing stay.
func TestSealedBudgetReachesHTTP(t *testing.T) {
	const budget, clients = 128 << 10, 40
	source, client, _ := securedBy(t)
	serves := make(chan struct{}, clients+1)
	f := startHTTP(t, Config{
		MaxPartial: budget, Source: source, HandshakeTimeout: hour, BodyTimeout: hour, MessageMinRate: Progress{Bytes: -1},
	}, func(w http.ResponseWriter, r *http.Request) {
		serves <- struct{}{}
		if b, err := io.ReadAll(r.Body); err == nil {
			fmt.Fprintf(w, "%s", b)
		}
	})
	honest, _ := f.connectTLS(t, client, "POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhel")
	<-serves
	bystander, _ := f.connectTLS(t, client, fmt.Sprintf(request, "/"))
	bystander.head()
	for range clients {
		_, raw := f.connectTLS(t, client, "POST /body HTTP/1.1\r\nHost: test\r\nContent-Length: 50000\r\n\r\nx")
		<-serves
		if _, err := raw.Write(halfRecord()); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all records are held", func() bool {
		arriving, _ := f.loop.Sealed()
		return arriving >= clients*8<<10
	})
	message := make([]byte, 1000)
	bystander.write(allBut(message))
	until(t, "the limit holds", func() bool {
		arriving, _ := f.loop.Sealed()
		return arriving <= budget
	})
	if n := f.Stats().Limits["partial"]; n == 0 || n > clients {
		t.Errorf("the limit was reached %d times", n)
	}
	bystander.write(lastOf(message))
	bystander.want(ws.OpBinary, message)
	honest.write([]byte("lo"))
	honest.wantStatus(http.StatusOK)
	if n, _ := f.sealed(); n < 0 {
		t.Errorf("%d bytes are held: some are counted as closed twice", n)
	}
}

// TestShedReachesTLS: when memory is short, connections in the handshake of TLS have to go, and then those that hold a
// part of a record. Open ones that hold nothing stay.
func TestShedReachesTLS(t *testing.T) {
	const clients = 5
	source, client, _ := securedBy(t)
	f := start(t, Config{Source: source, HandshakeTimeout: hour}, map[string]*Route{"/": {Handler: echo}})
	bystander, _ := f.connectTLS(t, client, fmt.Sprintf(request, "/"))
	bystander.head()
	for range clients {
		_, raw := f.connectTLS(t, client, fmt.Sprintf(request, "/"))
		if _, err := raw.Write(halfRecord()); err != nil {
			t.Fatal(err)
		}
		f.connect(t, "\x16")
	}
	until(t, "all are there", func() bool {
		arriving, _ := f.loop.Sealed()
		return arriving == clients*(5+8<<10) && f.Stats().Handshaking == clients
	})
	shed := func(need int64) int64 {
		freed := make(chan int64, 1)
		f.Shed(need, func(n int64) { freed <- n })
		return <-freed
	}
	if n := shed(shakingBytes + 1); n != 2*shakingBytes {
		t.Errorf("freed %d bytes, want those of two handshakes", n)
	}
	if st := f.Stats(); st.Handshaking != clients-2 || st.Limits["memory_close"] != 2 {
		t.Errorf("%d handshakes are left, %d are counted", st.Handshaking, st.Limits["memory_close"])
	}
	if n := shed((clients-2)*shakingBytes + 1); n != (clients-2)*shakingBytes+5+8<<10 {
		t.Errorf("freed %d bytes, want those of all handshakes and a record", n)
	}
	shed(1 << 40)
	if arriving, _ := f.loop.Sealed(); arriving != 0 || f.Stats().Limits["memory_close"] != 2*clients {
		t.Errorf("%d bytes are held, %d are counted", arriving, f.Stats().Limits["memory_close"])
	}
	bystander.send(ws.OpText, []byte("hello"))
	bystander.want(ws.OpText, []byte("hello"))
}
