package main

import (
	"crypto/x509"
	"fmt"
	"os"

	cli "github.com/expedite-go/expedite/internal/command"
)

// authorities returns those whose certificates a server may have, or nil for those of the system.
func (b *benchCmd) authorities() (*x509.CertPool, error) {
	if b.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(b.CA)
	if err != nil {
		return nil, cli.Usage(fmt.Errorf("--ca: %w", err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, cli.Usage(fmt.Errorf("--ca: %s has no certificate: want authorities in PEM", b.CA))
	}
	return pool, nil
}
