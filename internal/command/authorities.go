package command

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Authorities returns those in the PEM file of a flag --ca, whose certificates a server may have; nil, for those of the
// system, if there is no file.
func Authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, usageError{fmt.Errorf("--ca: %w", err)}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, usageError{fmt.Errorf("--ca: %s has no certificate: want authorities in PEM", file)}
	}
	return pool, nil
}
