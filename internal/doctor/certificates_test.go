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
	"strings"
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
	readable := issue("site", 90, fast)
	readable.Readable = true
	old := issue("authority", 90, fast)
	old.Pair.Certificate = append(old.Pair.Certificate, issue("root", -1, fast).Pair.Certificate[0])
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
		"old intermediate": {old, []string{"certificate ok", "certificate-chain warn an intermediate has expired"}},
		"a key for all":    {readable, []string{"certificate-mode warn", "certificate ok"}},
		"another key":      {Certificate{Cert: "site.pem", Err: errors.New("no match")}, []string{"certificate error"}},
	} {
		e := newExam(new(Machine), Want{Certificates: []Certificate{tt.cert}, Now: now})
		e.certificates()
		var got []string
		for _, f := range e.report.Findings {
			text := f.Name + " " + string(f.Level)
			if why, _, _ := strings.Cut(f.Why, ":"); strings.HasSuffix(why, "has expired") && f.Name == "certificate-chain" {
				text += " " + why
			}
			got = append(got, text)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

// TestMemoryOfTLS: a machine holds fewer connections over TLS, and the report says what TLS takes.
func TestMemoryOfTLS(t *testing.T) {
	var m Machine
	plain, secured := Examine(m, Want{Workers: 1}), Examine(m, Want{Workers: 1, TLS: true})
	if p, s := plain.Capacity, secured.Capacity; p.SecureBytes != 0 || s.SecureBytes != SecureBytes || s.UserBytes != p.UserBytes+SecureBytes {
		t.Errorf("got %+v and, with TLS, %+v", p, s)
	}
	for text, r := range map[string]Report{"connections over TLS": secured, "connections": plain} {
		r.Capacity.Connections, r.Capacity.BoundBy, r.Capacity.Limits = 5000, "memory", []Limit{{"memory", 5000}}
		var b strings.Builder
		if err := r.WriteText(&b, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "holds about 5,000 "+text+" with") || !strings.Contains(r.Summary()[0], "5,000 "+text+" with") {
			t.Errorf("got %s, %q", b.String(), r.Summary())
		}
		if strings.Contains(b.String(), "3,200 bytes in a worker (2,000 for TLS)") != (r.Capacity.SecureBytes > 0) {
			t.Errorf("got %s", b.String())
		}
	}
}
