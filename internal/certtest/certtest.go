// Package certtest makes certificates for tests.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for 127.0.0.1, and for a name each.
type Authority struct {
	// Dir is the folder of all files, and CA the PEM file of the authority's own certificate.
	Dir, CA string
	// Pool has that certificate.
	Pool *x509.CertPool

	t      testing.TB
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	chain  [][]byte // what follows the certificates it issues
	serial int64
}

// Pair is a certificate with its key, also as PEM files.
type Pair struct {
	Cert, Key string
	// Pin is the hash of the public key, as Chromium's --ignore-certificate-errors-spki-list wants it.
	Pin string
	TLS tls.Certificate
}

// New makes an authority, whose files last as long as the test.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, Dir: t.TempDir(), Pool: x509.NewCertPool(), key: newKey(t)}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}
	a.cert = a.sign(template, template, a.key)
	a.CA = a.write("ca.pem", "CERTIFICATE", a.cert.Raw)
	a.Pool.AddCert(a.cert)
	return a
}

// Intermediate makes an authority below a: clients that trust a need its certificate, which follows those that it
// issues.
func (a *Authority) Intermediate() *Authority {
	a.t.Helper()
	b := &Authority{t: a.t, Dir: a.t.TempDir(), Pool: a.Pool, CA: a.CA, key: newKey(a.t)}
	b.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test intermediate"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}, a.cert, b.key)
	b.chain = append([][]byte{b.cert.Raw}, a.chain...)
	return b
}

// Issue makes a certificate for a host, which is valid for an hour, and writes it to file.pem and file.key.
func (a *Authority) Issue(file, host string) Pair {
	return a.IssueUntil(file, host, time.Now().Add(time.Hour))
}

// IssueUntil is Issue for a certificate that expires then.
func (a *Authority) IssueUntil(file, host string, expires time.Time) Pair {
	a.t.Helper()
	return a.issue(file, host, expires, newKey(a.t))
}

// IssueRSA is Issue with a key for RSA.
func (a *Authority) IssueRSA(file, host string, bits int) Pair {
	a.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.issue(file, host, time.Now().Add(time.Hour), key)
}

// IssueEd25519 is Issue with a key for Ed25519.
func (a *Authority) IssueEd25519(file, host string) Pair {
	a.t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.issue(file, host, time.Now().Add(time.Hour), key)
}

func (a *Authority) issue(file, host string, expires time.Time, key crypto.Signer) Pair {
	a.t.Helper()
	cert := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, NotAfter: expires,
	}, a.cert, key)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	pin := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	chain := append([][]byte{cert.Raw}, a.chain...)
	return Pair{
		Cert: a.write(file+".pem", "CERTIFICATE", chain...), Key: a.write(file+".key", "PRIVATE KEY", secret),
		Pin: base64.StdEncoding.EncodeToString(pin[:]),
		TLS: tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: cert},
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *Authority) sign(template, parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	a.serial++
	template.SerialNumber, template.NotBefore = big.NewInt(a.serial), time.Now().Add(-24*time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

func (a *Authority) write(name, kind string, blocks ...[]byte) string {
	a.t.Helper()
	path := filepath.Join(a.Dir, name)
	var text []byte
	for _, der := range blocks {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}
