package conformance

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// exchange is one run of a case: its connection.
type exchange struct {
	target *Target
	c      *Case
	plan   *Plan
	pass   *pass
	conn   net.Conn
	br     *bufio.Reader
	in     receiver
	writes chan struct{} // closed when the last write has ended
}

// weakness is a failed connection without the close code that it should have.
type weakness struct{ text string }

// Error implements error.
func (w *weakness) Error() string { return w.text }

// run runs the case. A *weakness means that the server has kept the rule, but less well than it should.
func (x *exchange) run() (err error) {
	defer x.pass.arrive()
	if x.conn, err = net.DialTimeout("tcp", x.target.Addr, x.target.patience()); err != nil {
		return err
	}
	x.writes = make(chan struct{})
	close(x.writes)
	defer func() {
		_ = x.conn.Close()
		<-x.writes
	}()
	if err := x.conn.SetDeadline(time.Now().Add(x.target.patience())); err != nil {
		return err
	}
	x.br = bufio.NewReaderSize(x.conn, 64<<10)
	if x.plan.Later {
		if err := x.visit("first"); err != nil {
			return fmt.Errorf("the request before: %w", err)
		}
	}
	request := x.request()
	if x.plan.Delivery == Together {
		x.send([]byte(request), x.c.Send)
	} else {
		x.send([]byte(request), nil)
	}
	open, err := x.answers(request)
	switch {
	case errors.Is(err, errEnded):
		return nil
	case err != nil:
		return err
	}
	if !open {
		return x.after()
	}
	return x.talk()
}

// request returns the request of the case.
func (x *exchange) request() string {
	r := x.c.Request
	if r == "" {
		r = opening("Host: {host}", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: "+sampleKey) + x.c.Fields + "\r\n"
	}
	return strings.NewReplacer("{path}", x.target.Path, "{host}", x.target.Addr).Replace(x.target.proxied(r))
}

// sampleKey is that of RFC 6455 §1.3.
const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// opening returns a request line and fields, without the empty line.
func opening(fields ...string) string {
	return "GET {path} HTTP/1.1\r\n" + strings.Join(fields, "\r\n") + "\r\n"
}

// send sends request and frames as the plan says, while the caller reads.
func (x *exchange) send(request, frames []byte) {
	before := x.writes
	done := make(chan struct{})
	x.writes = done
	go func() { // ends when all is sent, or the connection closed
		defer close(done)
		<-before
		x.write(request, frames)
	}()
}

// write sends. An error means that the server has closed the connection, which is what the reader judges.
func (x *exchange) write(request, frames []byte) {
	all := slices.Concat(request, frames)
	cut := -1
	switch x.plan.Delivery {
	case Bytewise:
		for piece := range slices.Chunk(all, len(all)/4000+1) {
			if _, err := x.conn.Write(piece); err != nil {
				return
			}
		}
		return
	case CutHead:
		if head := bytes.Index(request, []byte("\r\n\r\n")); head > 0 {
			cut = head / 2
		}
	case CutFrames:
		if len(frames) > 1 {
			cut = len(request) + len(frames)/2
		}
	case CutLast:
		if len(frames) > 1 {
			cut = len(all) - 1
		}
	}
	if cut >= 0 {
		if _, err := x.conn.Write(all[:cut]); err != nil {
			return
		}
		x.pass.wait()
		all = all[cut:]
	}
	_, _ = x.conn.Write(all)
}

// visit sends a plain HTTP request and checks the response.
func (x *exchange) visit(marker string) error {
	target := PlainPath + "?" + marker
	if _, err := fmt.Fprintf(x.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, x.target.Addr); err != nil {
		return err
	}
	r, err := readResponse(x.br, false)
	switch {
	case err != nil:
		return err
	case r.Status != http.StatusOK:
		return fmt.Errorf("GET %s: got %d, want 200", target, r.Status)
	case x.target.has([]Feature{HTTP}) && r.Body != saw("GET", target, ""):
		return broke("GET %s was answered with %q (RFC 9112 §9.3.2)", target, r.Body)
	}
	return nil
}

// answers reads the responses that the case expects. It reports whether the last one opens the WebSocket.
func (x *exchange) answers(request string) (open bool, err error) {
	list := x.c.Answers
	if len(list) == 0 {
		list = []Answer{{Status: []int{http.StatusSwitchingProtocols}}}
	}
	for i, want := range list {
		r, err := readResponse(x.br, want.Head)
		if want.MayEnd && gone(err) {
			return false, errEnded
		}
		if err != nil {
			return false, fmt.Errorf("response %d: %w", i+1, err)
		}
		open = r.Status == http.StatusSwitchingProtocols
		if refused := r.Status >= 400 && r.Status < 600; len(want.Status) == 0 && !refused {
			return false, fmt.Errorf("response %d: got %d, want 400 to 599", i+1, r.Status)
		}
		if len(want.Status) > 0 && !slices.Contains(want.Status, r.Status) {
			return false, fmt.Errorf("response %d: got %d, want %v", i+1, r.Status, want.Status)
		}
		if open {
			if x.in.agreed, err = checkOpening(request, r); err != nil {
				return false, err
			}
		}
		if want.Check != nil {
			if err := want.Check(r); err != nil {
				return false, fmt.Errorf("response %d: %w", i+1, err)
			}
		}
	}
	return open, nil
}

// errEnded means that the connection has ended where a response may be missing.
var errEnded = errors.New("the connection has ended")

// fieldsOf returns the values of a field in a request.
func fieldsOf(request, name string) (list []string) {
	for line := range strings.SplitSeq(request, "\r\n") {
		field, value, ok := strings.Cut(line, ":")
		if ok && strings.EqualFold(strings.Trim(field, " \t"), name) {
			list = append(list, strings.Trim(value, " \t"))
		}
	}
	return list
}

// checkOpening checks a 101 as a client must. RFC 6455 §4.1.
func checkOpening(request string, r *Response) (Agreed, error) {
	keys := fieldsOf(request, "Sec-WebSocket-Key")
	if len(keys) == 0 {
		return Agreed{}, broke("101 for a request without a key")
	}
	sum := sha1.Sum([]byte(keys[len(keys)-1] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	accept := base64.StdEncoding.EncodeToString(sum[:])
	protocols := r.Header.Values("Sec-WebSocket-Protocol")
	offered := strings.Split(strings.Join(fieldsOf(request, "Sec-WebSocket-Protocol"), ","), ",")
	for i := range offered {
		offered[i] = strings.Trim(offered[i], " \t")
	}
	switch got := r.Header.Values("Sec-WebSocket-Accept"); {
	case r.Proto != "HTTP/1.1":
		return Agreed{}, broke("101 in %s (RFC 9110 §7.8)", r.Proto)
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		return Agreed{}, broke("Upgrade: %q (RFC 6455 §4.2.2)", r.Header.Get("Upgrade"))
	case !hasToken(r.Header.Values("Connection"), "upgrade"):
		return Agreed{}, broke("Connection: %q (RFC 6455 §4.2.2)", r.Header.Values("Connection"))
	case len(got) != 1 || got[0] != accept:
		return Agreed{}, broke("Sec-WebSocket-Accept: %q, want %q (RFC 6455 §4.2.2)", got, accept)
	case len(protocols) > 1 || len(protocols) == 1 && !slices.Contains(offered, protocols[0]):
		return Agreed{}, broke("Sec-WebSocket-Protocol: %q for %q (RFC 6455 §4.2.2)", protocols, offered)
	}
	offer := strings.Join(fieldsOf(request, "Sec-WebSocket-Extensions"), ", ")
	return agree(offer, r.Header.Values("Sec-WebSocket-Extensions"))
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for e := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.Trim(e, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// after checks what follows the last response.
func (x *exchange) after() error {
	if x.c.After != Ends {
		err := x.visit("after")
		if x.c.After == EndsOrStays && gone(err) {
			return nil
		}
		return err
	}
	got, err := x.br.ReadByte()
	if err == nil {
		return fmt.Errorf("got %q after the last response, want the end", got)
	}
	if !gone(err) {
		return fmt.Errorf("want the end of the connection: %w", err)
	}
	return nil
}

// gone reports whether err means that the server has ended the connection.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err)
}
