package secure

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/certstore"
)

// Auto names certificates in a folder, which may come later.
type Auto struct {
	Folder  certstore.Folder
	Domains []string
}

// read reads the certificates of all domains. What is wrong with one is no matter for the others: what is in use stays
// in use then, and changed tells whether anything else has come.
func (a *Auto) read(inUse map[string]*tls.Certificate, now time.Time) (
	all map[string]*tls.Certificate, changed bool, err error,
) {
	all = make(map[string]*tls.Certificate, len(a.Domains))
	var errs []error
	for _, name := range a.Domains {
		before := inUse[name]
		if before != nil {
			all[name] = before
		}
		one, err := a.Folder.Read(name)
		switch {
		case errors.Is(err, fs.ErrNotExist): // it will come
		case err != nil:
			errs = append(errs, err)
		case before != nil && (one.Leaf.Equal(before.Leaf) || now.After(one.Leaf.NotAfter)):
		default:
			all[name], changed = one, true
		}
	}
	return all, changed, errors.Join(errs...)
}

// waits reports whether a domain has no certificate that clients accept.
func (a *Auto) waits(all map[string]*tls.Certificate, now time.Time) bool {
	return slices.ContainsFunc(a.Domains, func(name string) bool {
		c := all[name]
		return c == nil || now.After(c.Leaf.NotAfter)
	})
}

// choose returns the certificate of the name that a client asks for, or nil if that is not a domain of ours. A client
// that names none gets that of the first domain.
func (a *Auto) choose(all map[string]*tls.Certificate, name string) *tls.Certificate {
	if name != "" {
		return all[serverName(name)]
	}
	for _, d := range a.Domains {
		if c := all[d]; c != nil {
			return c
		}
	}
	return nil
}

// noCertificates is the error of crypto/tls for a client for which there is no certificate. It has no variable.
const noCertificates = "tls: no certificates configured"

// noCertificate returns the error of the handshake with a client that asks for a name. If there is no certificate for
// it, the error says why: certificates are configured, but this one may not have been obtained yet.
func (s *Server) noCertificate(err error, name string) error {
	if err.Error() != noCertificates || len(s.cfg.Auto.Domains) == 0 {
		return err
	}
	switch own := serverName(name); {
	case slices.Contains(s.cfg.Auto.Domains, own):
		return fmt.Errorf("secure: no certificate of %s has been obtained yet: status tells why", own)
	case s.Expires().IsZero():
		return errors.New("secure: no certificate has been obtained yet: status tells why")
	default:
		return fmt.Errorf("secure: no certificate has the name that the client asks for: %q", name)
	}
}

// serverName returns the name that a client asks for as settings have it. Names are the same in any case.
func serverName(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

// challengeProtocol is that of tls-alpn-01. RFC 8737 §4.
const challengeProtocol = "acme-tls/1"

// isChallenge reports whether an authority asks whether a domain leads to this server. It offers no other protocol.
// RFC 8737 §3.
func isChallenge(hello *tls.ClientHelloInfo) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == challengeProtocol
}

// challengeConfig returns the configuration for an authority's handshake, in which it verifies the answer: it presents
// no certificate, and may use another version than clients.
func (a *Auto) challengeConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{challengeProtocol},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			name := serverName(hello.ServerName)
			if !slices.Contains(a.Domains, name) {
				return nil, nil // an alert: there is no certificate
			}
			c, err := a.Folder.Token(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			return c, err
		},
		SessionTicketsDisabled: true,
	}
}

// challengePath is the beginning of the paths of http-01. RFC 8555 §8.3.
const challengePath = "/.well-known/acme-challenge/"

// Answer returns the answer to the challenge http-01 whose path a client asks for, or nil.
func (s *Server) Answer(path string) []byte {
	token, ok := strings.CutPrefix(path, challengePath)
	if !ok || len(s.cfg.Auto.Domains) == 0 {
		return nil
	}
	b, err := s.cfg.Auto.Folder.Answer(token)
	if err != nil {
		return nil
	}
	return b
}
