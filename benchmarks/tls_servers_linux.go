package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
)

// certificatesIn is the variable of the environment with the folder of the certificate that servers use.
const certificatesIn = "BENCHMARK_CERTIFICATES"

// secured reports whether a server speaks TLS, by its name.
func secured(server string) bool { return strings.Contains(server, "tls") }

// serverTLS returns the settings of servers with a name.
func serverTLS(server string) (t expedite.TLS) {
	if secured(server) {
		dir := os.Getenv(certificatesIn)
		t.Cert, t.Key = []string{filepath.Join(dir, "cert.pem")}, []string{filepath.Join(dir, "key.pem")}
		t.Standard = strings.Contains(server, "std")
	}
	return t
}

// handoffTLS returns the settings of the server whose workers are replaced: it uses TLS if there is a certificate.
func handoffTLS() expedite.TLS {
	if os.Getenv(certificatesIn) == "" {
		return expedite.TLS{}
	}
	return serverTLS("expedite tls")
}

// listenTLS listens with crypto/tls, configured as in Expedite.
func listenTLS(server string) (net.Listener, error) {
	files := serverTLS(server)
	pair, err := tls.LoadX509KeyPair(files.Cert[0], files.Key[0])
	if err != nil {
		return nil, err
	}
	return tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"},
	})
}

// certify makes a certificate for the servers that this process starts. Call remove at the end.
func certify() (remove func(), err error) {
	dir, err := os.MkdirTemp("", "expedite-bench-")
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if err := errors.Join(os.Setenv(certificatesIn, dir), writeCertificate(dir)); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	write := func(name, kind string, b []byte) error {
		return os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600)
	}
	return errors.Join(write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", private))
}
