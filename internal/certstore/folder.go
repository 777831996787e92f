package certstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Folder is the path of a folder of certificates. Its methods are safe for concurrent use, also by several processes.
type Folder string

const (
	accountFile  = "acme_account+key"
	tokenSuffix  = "+token"
	answerSuffix = "+http-01"
	newPrefix    = "new-" // of files that are being written; no domain of ours begins so: they have a dot
)

const (
	folderMode = 0o700
	fileMode   = 0o600
	maxFile    = 1 << 20
)

// Path returns the path of the certificate of a domain and of its key, which are one file: so they always fit together.
func (f Folder) Path(domain string) string { return filepath.Join(string(f), domain) }

// Read reads the certificate of a domain. If there is none, the error is [fs.ErrNotExist]. It may have expired.
func (f Folder) Read(domain string) (*tls.Certificate, error) {
	if err := CheckDomain(domain); err != nil {
		return nil, err
	}
	c, err := f.pair(domain)
	if err != nil {
		return nil, err
	}
	if err := c.Leaf.VerifyHostname(domain); err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(domain), err)
	}
	return c, nil
}

// pair reads a certificate and its key of one file.
func (f Folder) pair(name string) (*tls.Certificate, error) {
	b, err := f.read(name)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	c, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path(name), err)
	}
	return &c, nil
}

func (f Folder) read(name string) ([]byte, error) {
	path := filepath.Join(string(f), name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", path, maxFile)
	}
	return os.ReadFile(path)
}

// Write stores a certificate with its key and its chain, and replaces the one before.
func (f Folder) Write(domain string, key *ecdsa.PrivateKey, chain [][]byte) error {
	if err := CheckDomain(domain); err != nil {
		return err
	}
	return f.writePair(domain, key, chain)
}

func (f Folder) writePair(name string, key crypto.PrivateKey, chain [][]byte) error {
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	defer func() { clear(text) }()
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return f.write(name, text)
}

func keyPEM(key crypto.PrivateKey) ([]byte, error) {
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("certstore: a key of the type %T", key)
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

// write replaces a file as a whole: readers see the old content or the new one. It is on the disk when write returns,
// because an authority does not like to be asked again.
func (f Folder) write(name string, b []byte) (err error) {
	if err := os.MkdirAll(string(f), folderMode); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(string(f), newPrefix) // with the mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), filepath.Join(string(f), name))
}

// Try reports whether a certificate could be stored now.
func (f Folder) Try() error {
	const name = "try"
	if err := f.write(name, make([]byte, 16<<10)); err != nil {
		return err
	}
	return f.remove(name)
}

func (f Folder) remove(name string) error {
	err := os.Remove(filepath.Join(string(f), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// AccountKey returns the private key of the account at the authority, and makes one if there is none.
func (f Folder) AccountKey() (crypto.Signer, error) {
	b, err := f.read(accountFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.newAccountKey()
	case err != nil:
		return nil, err
	}
	defer clear(b)
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s has no private key: remove it to register again", filepath.Join(string(f), accountFile))
	}
	defer clear(block.Bytes)
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: remove it to register again", filepath.Join(string(f), accountFile), err)
	}
	return key, nil
}

func (f Folder) newAccountKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	text, err := keyPEM(key)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return key, f.write(accountFile, text)
}

// Token returns the certificate that answers the challenge tls-alpn-01 for a domain.
func (f Folder) Token(domain string) (*tls.Certificate, error) {
	if err := CheckDomain(domain); err != nil {
		return nil, err
	}
	return f.pair(domain + tokenSuffix)
}

// WriteToken stores the certificate that Token returns.
func (f Folder) WriteToken(domain string, c *tls.Certificate) error {
	if err := CheckDomain(domain); err != nil {
		return err
	}
	return f.writePair(domain+tokenSuffix, c.PrivateKey, c.Certificate)
}

// RemoveToken removes what WriteToken has stored.
func (f Folder) RemoveToken(domain string) error { return f.remove(domain + tokenSuffix) }

// Answer returns the answer to the challenge http-01 with a token.
func (f Folder) Answer(token string) ([]byte, error) {
	if !isToken(token) {
		return nil, fs.ErrNotExist
	}
	return f.read(token + answerSuffix)
}

// WriteAnswer stores what Answer returns.
func (f Folder) WriteAnswer(token, answer string) error {
	if !isToken(token) {
		return fmt.Errorf("certstore: %q is not a token", token)
	}
	return f.write(token+answerSuffix, []byte(answer))
}

// RemoveAnswer removes what WriteAnswer has stored.
func (f Folder) RemoveAnswer(token string) error {
	if !isToken(token) {
		return nil
	}
	return f.remove(token + answerSuffix)
}

// leftover is the age at which a file that should have been removed soon is one that a process has left.
const leftover = time.Hour

// Sweep removes what processes that were killed have left: answers to challenges, and files that were not complete.
func (f Folder) Sweep(now time.Time) error {
	list, err := os.ReadDir(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range list {
		name := e.Name()
		if !strings.HasSuffix(name, tokenSuffix) && !strings.HasSuffix(name, answerSuffix) &&
			!strings.HasPrefix(name, newPrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > leftover {
			errs = append(errs, f.remove(name))
		}
	}
	return errors.Join(append(errs, err)...)
}
