package secure

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// kept is what the files of a Server contained when they were last valid, for a process that cannot use the files. It
// is written as JSON; fields may be added. It has private keys: it goes over socketpairs and in sealed memory only.
type kept struct {
	Files []KeyPair  `json:"files"`
	Pairs []keptPair `json:"pairs"` // in the order of Files
	// ClientCA names the file that has contained Authorities.
	ClientCA    string              `json:"client_ca,omitempty"`
	Authorities []byte              `json:"authorities,omitempty"`
	Sums        [][sha256.Size]byte `json:"sums"`
}

// keptPair is a certificate, followed by its intermediates, and its key in PKCS #8.
type keptPair struct {
	Chain [][]byte `json:"chain"`
	Key   []byte   `json:"key"`
}

// Keep returns what is in use, for Restore and Succeed; nil if that is not from files. It contains private keys.
func (s *Server) Keep() []byte {
	s.mu.Lock()
	certs := s.certs
	s.mu.Unlock()
	if len(certs.sums) == 0 {
		return nil
	}
	k := kept{
		Files: s.cfg.Pairs, ClientCA: s.cfg.ClientCA, Authorities: certs.authorities, Sums: certs.sums,
	}
	defer k.erase()
	for _, one := range certs.list {
		key, err := x509.MarshalPKCS8PrivateKey(one.PrivateKey)
		if err != nil {
			return nil // not a key that a file can have
		}
		k.Pairs = append(k.Pairs, keptPair{Chain: one.Certificate, Key: key})
	}
	b, err := json.Marshal(k)
	if err != nil {
		return nil
	}
	return b
}

// erase overwrites the keys.
func (k *kept) erase() {
	for _, p := range k.Pairs {
		clear(p.Key)
	}
}

// errKept tells no more: what is not understood may be a key.
var errKept = errors.New("secure: certificates of another process not understood")

// parseKept returns the files that a Server has kept, and what they contained.
func parseKept(b []byte) (of Files, c *certificates, err error) {
	var k kept
	if json.Unmarshal(b, &k) != nil || len(k.Files) != len(k.Pairs) {
		return of, nil, errKept
	}
	defer k.erase()
	c = &certificates{sums: k.Sums}
	for i, p := range k.Pairs {
		if len(p.Chain) == 0 {
			return of, nil, errKept
		}
		leaf, errLeaf := x509.ParseCertificate(p.Chain[0])
		key, errKey := x509.ParsePKCS8PrivateKey(p.Key)
		if errLeaf != nil || errKey != nil {
			return of, nil, errKept
		}
		c.list = append(c.list, tls.Certificate{Certificate: p.Chain, PrivateKey: key, Leaf: leaf})
		c.paths = append(c.paths, k.Files[i].Cert)
	}
	if k.ClientCA != "" && !c.trust(k.Authorities) {
		return of, nil, errKept
	}
	return Files{Pairs: k.Files, ClientCA: k.ClientCA}, c, nil
}

// Needs returns why the files cannot be used, or why clients refuse what they contain; nil if there is nothing wrong.
// Restore may have something better.
func (s *Server) Needs() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.needs(s.cfg.Now())
}

// needs is Needs. s.mu must be held.
func (s *Server) needs(now time.Time) error {
	if s.unusable != nil {
		return s.unusable
	}
	return s.certs.check(now)
}

// Unusable returns why no file could be used since the Server was made; nil if there is nothing wrong. See Config.Late.
func (s *Server) Unusable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unusable
}

// Rereads reports whether the files could be used when they were read last, unless they have changed since then.
func (s *Server) Rereads() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told == "" && s.unusable == nil
}

// Restore uses what Keep has returned in another process with the same files, if that is better than what they contain
// now, and logs why. Reread goes on from there.
func (s *Server) Restore(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	of, certs, err := parseKept(b)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	why := s.needs(now)
	switch {
	case why == nil:
		return nil
	case of.ClientCA != s.cfg.ClientCA || !slices.Equal(of.Pairs, s.cfg.Pairs):
		return nil // other files than those of our settings
	case s.unusable == nil && certs.check(now) != nil:
		return nil // no better
	}
	certs.auto = s.certs.auto
	s.certs, s.unusable = certs, nil
	s.told = why.Error()
	s.cfg.Log.Error("certificates not read: the earlier ones stay in use", "error", why)
	s.apply()
	return nil
}

// Succeed returns an error if the files must not replace what Keep has returned in another process: clients refuse what
// they contain, and do not refuse that.
func (s *Server) Succeed(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	why := s.certs.check(now)
	if why == nil || len(b) == 0 {
		return nil
	}
	_, before, err := parseKept(b)
	if err != nil || len(before.list) == 0 || before.check(now) != nil {
		return nil
	}
	return why
}
