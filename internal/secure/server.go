package secure

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/internal/ratchet"
)

// Config configures a Server.
type Config struct {
	Files
	// MinVersion is the earliest version that clients may use: tls.VersionTLS12, or TLS13. 0 is 1.2.
	MinVersion uint16
	// Loop lets the event loop read and write the records of TLS 1.3. Linux only.
	Loop bool
	// Log receives what is wrong with files that have changed.
	Log *slog.Logger
	// Late makes a Server also of files that cannot be used: Restore follows with what they have contained. Until then,
	// Unusable returns why, and no handshake can be completed.
	Late bool
	// Alarm has Watch log which certificates of Pairs are about to expire. One process of a server does that.
	Alarm bool
	// Now returns the time that certificates are checked and keys of tickets are made for. Nil is time.Now.
	Now func() time.Time
}

// Server makes the server's ends of TLS connections. Its methods are safe for concurrent use.
type Server struct {
	cfg     Config
	current atomic.Pointer[tls.Config]
	gate    gate
	done    chan struct{} // closed by Close
	buffers sync.Pool     // of *buffers
	Stats

	mu       sync.Mutex
	certs    *certificates
	unusable error // see Unusable
	ratchet  *ratchet.Ratchet
	doubt    bool   // the last Reread has failed
	told     string // the last error of Reread that was logged
	// toldAuto is that of automatic certificates.
	toldAuto string
	alarms   alarms
}

// NewServer reads the files. A certificate that is not valid now is served nevertheless: Check tells.
func NewServer(c Config) (*Server, error) {
	certs, err := c.read()
	if err != nil && !c.Late {
		return nil, err
	}
	if err != nil {
		certs = new(certificates)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Server{
		done: make(chan struct{}),
		cfg:  c, certs: certs, unusable: err, ratchet: ratchet.New(c.Now()),
		gate: gate{free: max(1, runtime.GOMAXPROCS(0)-1)}, // the event loop needs a processor, too
	}
	s.certs.auto, _, _ = s.cfg.Auto.read(nil, c.Now()) // Watch tells what is wrong
	s.apply()
	return s, nil
}

// Check returns an error if a certificate is not valid now.
func (s *Server) Check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.certs.check(s.cfg.Now())
}

// Expires returns when the first of the certificates expires.
func (s *Server) Expires() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.certs.expires()
}

// SetTickets makes the keys of session tickets those of r, which other processes have, too.
func (s *Server) SetTickets(r *ratchet.Ratchet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ratchet = r
	s.apply()
}

// apply makes the configuration of the next connections. s.mu must be held.
func (s *Server) apply() {
	c := &tls.Config{
		Certificates: s.certs.list,
		MinVersion:   max(s.cfg.MinVersion, tls.VersionTLS12),
		NextProtos:   []string{"http/1.1"},
	}
	if s.certs.clients != nil {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, s.certs.clients
	}
	// A ticket replaces the certificate of a client. It is only valid with the authorities that verified it.
	c.SetSessionTicketKeys(s.ratchet.Keys(s.cfg.Now(), s.certs.clientsSum[:]))
	if auto := &s.cfg.Auto; len(auto.Domains) > 0 {
		all := s.certs.auto
		c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return auto.choose(all, hello.ServerName), nil // or else one of the pairs, or an alert if there are none
		}
		challenge := auto.challengeConfig()
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if isChallenge(hello) {
				return challenge, nil
			}
			return nil, nil
		}
	}
	s.current.Store(c)
}

// Reread reads the files again, and uses them from now on if they are valid. Otherwise it keeps what it has and returns
// the error. The second time in a row it logs why, once: most programs replace a certificate and its key one after the
// other. The keys of tickets change with the day in any case.
func (s *Server) Reread() error {
	defer s.alarm(false)
	errAuto := s.rereadAuto()
	certs, err := s.cfg.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	if err == nil {
		err = certs.check(now)
	}
	doubted := s.doubt
	s.doubt = err != nil
	changed := s.ratchet.Advance(now)
	switch {
	case err != nil && !doubted: // it may be the first of two files
	case err != nil && s.told != err.Error():
		s.told = err.Error()
		s.cfg.Log.Error("certificates not read again: the earlier ones stay in use", "error", err)
	case err == nil:
		s.told = ""
		if !certs.same(s.certs) {
			certs.auto = s.certs.auto
			s.certs, s.unusable, changed = certs, nil, true
			s.cfg.Log.Info("certificates read again", "expires", certs.expires())
		}
	}
	if changed {
		s.apply()
	}
	return errors.Join(err, errAuto)
}

// rereadAuto reads the automatic certificates again.
func (s *Server) rereadAuto() error {
	auto := &s.cfg.Auto
	if len(auto.Domains) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, changed, err := auto.read(s.certs.auto, s.cfg.Now())
	if changed {
		s.certs = s.certs.with(all)
		s.apply()
		s.cfg.Log.Info("automatic certificates read", "expires", s.certs.expires())
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.toldAuto {
		s.cfg.Log.Error("automatic certificates cannot be used", "error", err)
	}
	s.toldAuto = text
	return err
}

// waits reports whether a domain has no automatic certificate that clients accept.
func (s *Server) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Auto.waits(s.certs.auto, s.cfg.Now())
}

const (
	// rereadEvery is how often Watch looks whether files have changed. Mounted secrets change without a signal.
	rereadEvery = 30 * time.Second
	// rereadSoon is how soon it looks again at files that do not fit together.
	rereadSoon = 2 * time.Second
	// waitEvery is how often it looks for an automatic certificate without which clients cannot connect.
	waitEvery = time.Second
)

// Watch warns of certificates that are not valid, and calls Reread regularly, until Close.
func (s *Server) Watch() {
	if err := s.Check(); err != nil {
		s.cfg.Log.Error("clients refuse the certificate", "error", err)
	}
	_ = s.rereadAuto() // it logs
	s.alarm(true)
	t := time.NewTimer(rereadEvery)
	defer t.Stop()
	for wait := rereadEvery; ; {
		var soon <-chan time.Time
		if s.waits() {
			soon = time.After(waitEvery)
		}
		select {
		case <-t.C:
			if err := s.Reread(); err != nil && wait == rereadEvery { // it logs
				wait = rereadSoon
			} else {
				wait = rereadEvery
			}
			t.Reset(wait)
		case <-soon:
			_ = s.rereadAuto()
		case <-s.done:
			return
		}
	}
}

// Close ends Watch.
func (s *Server) Close() { close(s.done) }

// Wrap returns the server's end of TLS over a connection of which ahead was read. It is a
// [reactor.Handshaker].
func (s *Server) Wrap(conn net.Conn, ahead []byte) net.Conn {
	raw := &gated{
		Conn: conn, gate: &s.gate, turn: make(chan struct{}, 1), gone: make(chan struct{}),
		ahead: ahead, record: s.cfg.Loop, buffers: new(buffers),
	}
	c := &Conn{raw: raw, server: s}
	cfg := s.current.Load()
	if s.cfg.Loop {
		c.log = new(keyLog)
		cfg = cfg.Clone()
		cfg.KeyLogWriter = c.log
	}
	c.Conn = tls.Server(raw, cfg)
	return c
}

// ErrNotTLS means that a client has not begun with TLS.
var ErrNotTLS = errors.New("secure: the client does not speak TLS")
