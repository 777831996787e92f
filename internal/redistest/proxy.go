package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	random "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Proxy passes bytes between clients and a server, in small pieces, delays or holds them, and cuts connections.
type Proxy struct {
	// Addr is its address.
	Addr string

	to     string
	piece  int
	mu     sync.Mutex
	budget int // bytes of answers until a cut; 0 means none
	limit  int // bytes of commands until a cut; 0 means none
	cuts   int
	delay  time.Duration // of each piece of answers
	frozen chan struct{} // nothing passes until it is closed; nil: everything does
	refuse bool
	conns  map[net.Conn]bool
	closed bool
	tasks  sync.WaitGroup
}

// StartProxy starts a Proxy to a TCP address. It writes at most piece bytes at once. It ends with the test.
func StartProxy(t testing.TB, to string, piece int) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startProxy(t, l, to, piece)
}

// StartTLSProxy starts a Proxy that expects TLS. It returns the file of the certificate to trust as well.
func StartTLSProxy(t testing.TB, to string) (p *Proxy, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return startProxy(t, l, to, 64<<10), ca
}

func startProxy(t testing.TB, l net.Listener, to string, piece int) *Proxy {
	p := &Proxy{Addr: l.Addr().String(), to: to, piece: piece, conns: make(map[net.Conn]bool)}
	p.tasks.Go(func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.tasks.Go(func() { p.serve(c) }) // ends with the connection
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		p.Thaw()
		p.Cut()
		p.tasks.Wait()
	})
	return p
}

// CutAfter makes the proxy cut every connection after a random number of bytes of answers, less than most. 0 ends that.
func (p *Proxy) CutAfter(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget = most
}

// CutOver makes the proxy cut every connection at which more bytes of commands have arrived. 0 ends that.
func (p *Proxy) CutOver(limit int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limit = limit
}

// Delay delays each piece of answers, and so limits their rate. 0 ends that.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Freeze holds all bytes in both directions until Thaw, like a network that loses every packet: no side learns of it.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

// Thaw ends Freeze.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// Refuse cuts all connections and refuses new ones, or no longer does.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	p.refuse = refuse
	p.mu.Unlock()
	if refuse {
		p.Cut()
	}
}

// hold waits until bytes may pass.
func (p *Proxy) hold(answers bool) {
	p.mu.Lock()
	frozen, delay := p.frozen, p.delay
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	if answers && delay > 0 {
		<-time.After(delay)
	}
}

// over reports whether a connection with a number of bytes of commands is to be cut.
func (p *Proxy) over(bytes int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.limit > 0 && bytes > p.limit
}

// Turn cuts all connections, and passes those that follow to another server.
func (p *Proxy) Turn(to string) {
	p.mu.Lock()
	p.to = to
	p.mu.Unlock()
	p.Cut()
}

// Cuts returns the number of connections that CutAfter has cut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// Cut cuts all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close() // it may be closed
	}
}

// add registers a connection, and reports whether the proxy is running.
func (p *Proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.closed && !p.refuse
}

func (p *Proxy) remove(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close() // it may be closed
}

func (p *Proxy) serve(client net.Conn) {
	defer p.remove(client)
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer p.remove(server)
	if !p.add(client) || !p.add(server) {
		return
	}
	ended := make(chan struct{})
	go func() { // ends with the connections
		defer close(ended)
		p.copy(server, client, false)
	}()
	p.copy(client, server, true)
	<-ended
}

// copy passes bytes until one of the connections ends, and then ends both.
func (p *Proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	left, total := -1, 0
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if total += n; !answers && p.over(total) {
			return
		}
		for b := buf[:n]; len(b) > 0; {
			p.hold(answers)
			if left, err = p.spend(left, answers); err != nil {
				return
			}
			k := min(len(b), p.piece)
			if left >= 0 {
				k = min(k, left)
				left -= k
			}
			if _, err := to.Write(b[:k]); err != nil {
				return
			}
			b = b[k:]
		}
		if err != nil {
			return
		}
	}
}

// spend returns how many bytes of answers may pass, or an error if the connection is to be cut.
func (p *Proxy) spend(left int, answers bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !answers || p.budget == 0:
		return -1, nil
	case left < 0:
		return 1 + random.IntN(p.budget), nil
	case left == 0:
		p.cuts++
		return 0, net.ErrClosed
	}
	return left, nil
}
