package expedite

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/ws"
)

// TestHTTPS has the same conversation with a server without TLS, and with each version and engine of TLS: one
// connection with pipelined requests, long bodies of each kind, HEAD, Expect, and a WebSocket at its end.
func TestHTTPS(t *testing.T) {
	a := certtest.New(t)
	pair := a.Issue("server", "localhost")
	want := converse(t, nil, TLS{})
	for _, standard := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprintf("%s standard=%v", tls.VersionName(version), standard), func(t *testing.T) {
				t.Parallel()
				got := converse(t, &tls.Config{RootCAs: a.Pool, ServerName: "localhost", MaxVersion: version},
					TLS{Cert: []string{pair.Cert}, Key: []string{pair.Key}, Standard: standard})
				if got != want {
					t.Errorf("got\n%s\nwant, as without TLS,\n%s", got, want)
				}
			})
		}
	}
}

// pages answers with what it was asked.
func pages(w http.ResponseWriter, r *http.Request) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	if r.URL.Path == "/long" {
		w.Header()["Date"] = nil
		_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 400_000))
		return
	}
	w.Header()["Date"] = nil
	fmt.Fprintf(w, "%s %s: %d bytes, %x, %v", r.Method, r.URL.Path, n, h.Sum(nil)[:4], err)
}

// converse runs a server and has the conversation with it. It returns what the server has said.
func converse(t *testing.T, client *tls.Config, server TLS) string {
	t.Helper()
	started := make(chan Started, 1)
	app := New(Config{Workers: -1, Addr: "127.0.0.1:0", TLS: server, OnStart: func(s Started) { started <- s }})
	app.Handle("/echo", Handler{Message: func(c *Conn, m Message) { c.Send(m) }})
	app.HTTP(http.HandlerFunc(pages))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	conn, err := net.Dial("tcp", (<-started).Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if client != nil {
		conn = tls.Client(conn, client)
	}
	d := &dialogue{t: t, conn: conn, in: bufio.NewReader(conn)}
	d.talk()
	return d.heard.String()
}

// dialogue is a client of HTTP that writes down what it is told.
type dialogue struct {
	t     *testing.T
	conn  net.Conn
	in    *bufio.Reader
	heard strings.Builder
}

// send writes requests, or a part of one.
func (d *dialogue) send(parts ...string) {
	d.t.Helper()
	if _, err := io.WriteString(d.conn, strings.Join(parts, "")); err != nil {
		d.t.Fatal(err)
	}
}

// hear reads a response.
func (d *dialogue) hear(method string) {
	d.t.Helper()
	res, err := http.ReadResponse(d.in, &http.Request{Method: method})
	if err != nil {
		d.t.Fatalf("after\n%s\n%v", d.heard.String(), err)
	}
	body, err := io.ReadAll(res.Body)
	if len(body) > 200 {
		body = fmt.Appendf(nil, "%d bytes, %x", len(body), sha256.Sum256(body))
	}
	fmt.Fprintf(&d.heard, "%s %v %v: %s, %v\n", res.Status, res.Header, res.TransferEncoding, body, err)
}

// talk sends requests, and at last a message.
func (d *dialogue) talk() {
	d.t.Helper()
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	d.send(get("/1"), get("/2"), "HEAD /3 HTTP/1.1\r\nHost: a\r\n\r\n", get("/4")) // pipelined
	for _, method := range []string{"GET", "GET", "HEAD", "GET"} {
		d.hear(method)
	}
	long := strings.Repeat("body ", 1_000_000)
	d.send(fmt.Sprintf("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(long)), long)
	d.hear("POST")
	d.send(fmt.Sprintf("PUT /expect HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", len(long)))
	d.hear("PUT")
	d.send(long)
	d.hear("PUT")
	d.send(get("/long"))
	d.hear("GET")
	d.send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
		strings.Repeat("fa00\r\n"+long[:64_000]+"\r\n", 50), "0\r\n\r\n", get("/behind"))
	d.hear("POST")
	d.hear("GET")
	d.send("GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
		string(ws.AppendMaskedFrame(nil, ws.OpText, 1, []byte("hello"))))
	d.hear("GET")
	b := make([]byte, 7)
	_, err := io.ReadFull(d.in, b)
	fmt.Fprintf(&d.heard, "%q %v\n", b, err)
}
