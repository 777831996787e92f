package traffic

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/expedite-go/expedite/ws"
)

// damage is what the proxy does to a data frame. do returns the bytes to pass on; hold delays the frame until after the
// next one.
type damage struct {
	name string
	do   func(frame []byte, header int) (out []byte, hold, reset bool)
}

// damages has one entry for each kind of bug that a handoff can have.
var damages = []damage{
	{"drop a byte", func(b []byte, head int) ([]byte, bool, bool) { return b[: len(b)-1 : len(b)-1], false, false }},
	{"flip a bit in front of the payload", func(b []byte, head int) ([]byte, bool, bool) {
		b = bytes.Clone(b)
		b[head-1] ^= 0x10 // in the masking key, if there is one, else in the length
		return b, false, false
	}},
	{"flip a bit of the payload", func(b []byte, head int) ([]byte, bool, bool) {
		b = bytes.Clone(b)
		b[(head+len(b))/2] ^= 0x01
		return b, false, false
	}},
	{"pass a frame twice", func(b []byte, _ int) ([]byte, bool, bool) {
		return append(bytes.Clone(b), b...), false, false
	}},
	{"swallow a frame", func([]byte, int) ([]byte, bool, bool) { return nil, false, false }},
	{"swap two frames", func(b []byte, _ int) ([]byte, bool, bool) { return b, true, false }},
	{"reset", func([]byte, int) ([]byte, bool, bool) { return nil, false, true }},
}

// proxy sits between clients and server, and damages one frame of one connection.
type proxy struct {
	target string // prefix of the target of the connection to damage
	up     bool   // damage the client's frames, not the server's
	damage damage
	spare  int // data frames to pass undamaged first, so that all clients can start
	server string
	done   atomic.Bool // the damage is done
	taken  atomic.Bool // a connection has been chosen
	work   sync.WaitGroup
}

// listen starts the proxy and returns its address. The proxy ends when the clients' connections have ended.
func (p *proxy) listen(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.work.Add(1)
	go func() { // ends with ln
		defer p.work.Done()
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.work.Add(1)
			go p.serve(c.(*net.TCPConn))
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		p.work.Wait()
	})
	return ln.Addr().String()
}

func (p *proxy) serve(client *net.TCPConn) {
	defer p.work.Done()
	defer client.Close()
	nc, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer nc.Close()
	server := nc.(*net.TCPConn)
	chosen := make(chan bool, 1)
	p.work.Add(1)
	go func() { // ends with either connection
		defer p.work.Done()
		defer client.CloseWrite()
		from := bufio.NewReader(server)
		if _, err := passHead(client, from); err != nil {
			return
		}
		p.pass(client, from, <-chosen && !p.up)
	}()
	from := bufio.NewReader(client)
	line, err := passHead(server, from)
	mine := err == nil && strings.HasPrefix(line, "GET "+p.target) && p.taken.CompareAndSwap(false, true)
	chosen <- mine
	if err != nil {
		return
	}
	p.pass(server, from, mine && p.up)
	_ = server.CloseWrite()
	// The other direction ends on its own: the server closes its side once the client's is closed.
}

// passHead forwards the HTTP head and returns its first line.
func passHead(to io.Writer, from *bufio.Reader) (first string, err error) {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return "", err
		}
		if _, err := io.WriteString(to, line); err != nil {
			return "", err
		}
		if first == "" {
			first = line
		}
		if line == "\r\n" {
			return first, nil
		}
	}
}

// pass forwards frames. If damaging is true, it damages one of them.
func (p *proxy) pass(to *net.TCPConn, from *bufio.Reader, damaging bool) {
	if !damaging {
		_, _ = io.Copy(to, from)
		return
	}
	var held []byte
	for n := 0; ; {
		b, h, head, err := readFrame(from)
		if err != nil {
			return
		}
		if !h.Opcode.IsControl() {
			if n++; held != nil {
				b, held = append(b, held...), nil
			} else if n > p.spare && h.Length > 1 && p.done.CompareAndSwap(false, true) {
				out, hold, reset := p.damage.do(b, head)
				if reset {
					_ = to.SetLinger(0)
					_ = to.Close()
					return
				}
				if b = out; hold {
					b, held = nil, out
				}
			}
		}
		if _, err := to.Write(b); err != nil {
			return
		}
	}
}

// readFrame reads a frame. head is the length of its header.
func readFrame(from *bufio.Reader) (b []byte, h ws.Header, head int, err error) {
	for head == 0 {
		c, err := from.ReadByte()
		if err != nil {
			return nil, h, 0, err
		}
		b = append(b, c)
		if h, head, err = ws.ParseHeader(b); err != nil {
			return nil, h, 0, err
		}
	}
	b = append(b, make([]byte, h.Length)...)
	_, err = io.ReadFull(from, b[head:])
	return b, h, head, err
}
