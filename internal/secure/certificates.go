package secure

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// KeyPair names the PEM files of a certificate, with its intermediates after it, and of its private key.
type KeyPair struct{ Cert, Key string }

// Files are all files of a Server.
type Files struct {
	// Pairs are chosen by the name that a client asks for; the first one is for all others.
	Pairs []KeyPair
	// ClientCA has the authorities whose certificates clients must present. Empty: clients present none.
	ClientCA string
	// Auto are the certificates that another process obtains and renews. Each is for its own name.
	Auto Auto
}

// certificates is what the files contained when they were read.
type certificates struct {
	list       []tls.Certificate
	paths      []string            // of list
	clients    *x509.CertPool      // nil: clients present no certificate
	clientsSum [sha256.Size]byte   // of authorities
	sums       [][sha256.Size]byte // of all files but those of automatic certificates, to notice changes
	auto       map[string]*tls.Certificate

	authorities []byte // the file of clients
}

// FileError is what is wrong with a file. Field is that of [KeyPair] or [Files] which names it.
type FileError struct {
	Field string
	Err   error
}

// Error implements error.
func (e *FileError) Error() string { return e.Err.Error() }

// Unwrap returns e.Err.
func (e *FileError) Unwrap() error { return e.Err }

// inField returns err as one of the file that a field names.
func inField(field string, err error) error {
	if err == nil {
		return nil
	}
	return &FileError{field, err}
}

// maxFile is the maximum size of a file of certificates or keys in bytes.
const maxFile = 1 << 20

// read reads and verifies all files.
func (f *Files) read() (*certificates, error) {
	c := new(certificates)
	var errs []error
	for _, p := range f.Pairs {
		one, err := c.pair(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		c.list, c.paths = append(c.list, one), append(c.paths, p.Cert)
	}
	if f.ClientCA != "" {
		pem, err := c.file(f.ClientCA)
		if err == nil && !c.trust(pem) {
			err = fmt.Errorf("%s has no certificate: want authorities in PEM", f.ClientCA)
		}
		errs = append(errs, inField("ClientCA", err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// trust makes clients present certificates of the authorities in a PEM file. It reports false if there are none.
func (c *certificates) trust(pem []byte) bool {
	c.authorities, c.clientsSum = pem, sha256.Sum256(pem)
	c.clients = x509.NewCertPool()
	return c.clients.AppendCertsFromPEM(pem)
}

// pair reads a certificate and its key, and verifies that they belong together.
func (c *certificates) pair(p KeyPair) (tls.Certificate, error) {
	cert, errCert := c.file(p.Cert)
	key, errKey := c.file(p.Key)
	defer clear(key)
	if err := errors.Join(inField("Cert", errCert), inField("Key", errKey)); err != nil {
		return tls.Certificate{}, err
	}
	one, err := tls.X509KeyPair(cert, key)
	switch {
	case err != nil && bytes.Contains(key, []byte("ENCRYPTED")): // RFC 7468 §11, or RFC 1421 in files of OpenSSL
		return tls.Certificate{}, inField("Key", fmt.Errorf(
			"%s has a passphrase: remove it with openssl pkey -in %[1]s -out plain.key", p.Key))
	case err != nil:
		return tls.Certificate{}, inField("Cert", fmt.Errorf("%s and %s: %w", p.Cert, p.Key, err))
	}
	return one, nil
}

// file reads a file, and remembers what it contained.
func (c *certificates) file(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) && !filepath.IsAbs(path) {
		if dir, errDir := os.Getwd(); errDir == nil {
			return nil, fmt.Errorf("%w, in %s", err, dir)
		}
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c.sums = append(c.sums, sha256.Sum256(b))
	return b, nil
}

// same reports whether the files had the same contents.
func (c *certificates) same(other *certificates) bool { return slices.Equal(c.sums, other.sums) }

// with returns c with other automatic certificates.
func (c *certificates) with(auto map[string]*tls.Certificate) *certificates {
	other := *c
	other.auto = auto
	return &other
}

// check returns an error if a certificate is not valid now: clients refuse it.
func (c *certificates) check(now time.Time) error {
	var errs []error
	for i, one := range c.list {
		switch leaf := one.Leaf; {
		case now.After(leaf.NotAfter):
			errs = append(errs, fmt.Errorf("%s: the certificate of %s has expired on %s: renew it",
				c.paths[i], names(leaf), leaf.NotAfter.Format(time.DateTime)))
		case now.Before(leaf.NotBefore):
			errs = append(errs, fmt.Errorf("%s: the certificate of %s is not valid before %s: is the clock right?",
				c.paths[i], names(leaf), leaf.NotBefore.Format(time.DateTime)))
		}
	}
	return errors.Join(errs...)
}

// names returns the hosts of a certificate, for messages.
func names(leaf *x509.Certificate) string {
	if len(leaf.DNSNames) == 0 {
		return leaf.Subject.String()
	}
	return strings.Join(leaf.DNSNames, ", ")
}

// expires returns when the first of the certificates expires.
func (c *certificates) expires() (first time.Time) {
	earlier := func(leaf *x509.Certificate) {
		if first.IsZero() || leaf.NotAfter.Before(first) {
			first = leaf.NotAfter
		}
	}
	for _, one := range c.list {
		earlier(one.Leaf)
	}
	for _, one := range c.auto {
		earlier(one.Leaf)
	}
	return first
}
