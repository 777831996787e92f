package doctor

import (
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"time"
)

// Certificate is a pair of files for TLS.
type Certificate struct {
	Cert, Key string          // the files
	Pair      tls.Certificate // what they contain
	Err       error           // why they cannot be used
	Readable  bool            // every user can read the key
}

// SecureBytes is what a connection with TLS 1.3 takes in addition while it has its ciphers: 1,882 bytes, see
// docs/figures.md. One that is silent drops them, but a message to all brings them back.
const SecureBytes = 2000

// soon is how long before its end a certificate should have been renewed.
const soon = 14 * 24 * time.Hour

// certificates checks the pairs for TLS: whether they fit together, their dates, their chains and their keys.
func (e *exam) certificates() {
	for _, c := range e.want.Certificates {
		if c.Readable {
			e.add(Finding{
				Name: "certificate-mode", Level: LevelWarn, Value: c.Key, Want: "mode 0600 or 0640",
				Why: "every user of this machine can read the key", Mend: "chmod o-r " + c.Key,
			})
		}
		f := Finding{Name: "certificate", Level: LevelOK, Value: c.Cert}
		if c.Err != nil {
			f.Level, f.Why = LevelError, "clients cannot connect: "+c.Err.Error()
			f.Mend = "--tls-cert needs the PEM file of a certificate, and --tls-key that of its private key"
			e.add(f)
			continue
		}
		leaf := c.Pair.Leaf
		f.Why = "valid until " + leaf.NotAfter.UTC().Format(time.DateTime)
		switch now := e.want.Now; {
		case now.After(leaf.NotAfter):
			f.Level, f.Why, f.Mend = LevelError, "has expired: clients refuse it", "renew it"
		case now.Before(leaf.NotBefore):
			f.Level, f.Why, f.Mend = LevelError, "is not valid yet: clients refuse it", "is the clock right?"
		case leaf.NotAfter.Sub(now) < soon && leaf.NotAfter.Sub(leaf.NotBefore) > 2*soon:
			f.Level, f.Mend = LevelWarn, "renew it"
		}
		e.add(f)
		e.chain(c.Cert, &c.Pair)
		if _, slow := leaf.PublicKey.(*rsa.PublicKey); slow {
			e.add(Finding{
				Name: "certificate-key", Level: LevelWarn, Value: c.Cert + ": RSA", Want: "ECDSA",
				Why:  "a handshake with RSA costs three times as much as with P-256",
				Mend: "ask for a certificate with a P-256 key",
			})
		}
	}
}

// chain checks whether each certificate is signed by the one after it, and whether there is one at all.
func (e *exam) chain(file string, pair *tls.Certificate) {
	f := Finding{Name: "certificate-chain", Value: file, Level: LevelWarn, Mend: "append the intermediates, in order"}
	last := pair.Leaf
	for _, der := range pair.Certificate[1:] {
		next, err := x509.ParseCertificate(der)
		if err == nil && e.want.Now.After(next.NotAfter) {
			f.Why = "an intermediate has expired: clients refuse the chain, or some do"
			f.Mend = "append the current intermediates, in order"
			e.add(f)
			return
		}
		if err != nil || last.CheckSignatureFrom(next) != nil {
			f.Why = "a certificate is not signed by the one after it: some clients refuse the chain"
			e.add(f)
			return
		}
		last = next
	}
	if len(pair.Certificate) == 1 && string(last.RawIssuer) != string(last.RawSubject) {
		f.Why = "there are no intermediates: clients refuse it, unless they know its issuer " + last.Issuer.String()
		e.add(f)
	}
}
