package doctor

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"
)

// TestCertificates: each fault of a pair is one finding.
func TestCertificates(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fast, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	slow, _ := rsa.GenerateKey(rand.Reader, 2048)
	issue := func(issuer string, days int, key crypto.Signer) Certificate {
		ca := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: issuer}, IsCA: true, BasicConstraintsValid: true,
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "site"},
			NotBefore: now.AddDate(0, 0, -60), NotAfter: now.AddDate(0, 0, days),
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), fast)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return Certificate{Cert: "site.pem", Pair: tls.Certificate{Certificate: [][]byte{der}, Leaf: parsed}}
	}
	unordered := issue("site", 90, fast)
	unordered.Pair.Certificate = append(unordered.Pair.Certificate, issue("site", 90, slow).Pair.Certificate[0])
	for name, tt := range map[string]struct {
		cert Certificate
		want []string
	}{
		"fine":             {issue("site", 90, fast), []string{"certificate ok"}},
		"expired":          {issue("site", -1, fast), []string{"certificate error"}},
		"soon":             {issue("site", 3, fast), []string{"certificate warn"}},
		"RSA":              {issue("site", 90, slow), []string{"certificate ok", "certificate-key warn"}},
		"no intermediates": {issue("authority", 90, fast), []string{"certificate ok", "certificate-chain warn"}},
		"wrong order":      {unordered, []string{"certificate ok", "certificate-chain warn"}},
		"another key":      {Certificate{Cert: "site.pem", Err: errors.New("no match")}, []string{"certificate error"}},
	} {
		e := newExam(new(Machine), Want{Certificates: []Certificate{tt.cert}, Now: now})
		e.certificates()
		var got []string
		for _, f := range e.report.Findings {
			got = append(got, f.Name+" "+string(f.Level))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}
