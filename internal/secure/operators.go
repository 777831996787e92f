package secure

import "crypto/tls"

// Operators returns a configuration for another server with the same certificates: also those that are read again, or
// obtained, later. Its clients present no certificate: whoever reaches the server may ask. They get no session tickets
// either, so that none of theirs is good at an address where certificates are demanded.
func (s *Server) Operators() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // of GetConfigForClient, which decides
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := s.current.Load().Clone()
			c.ClientAuth, c.ClientCAs, c.SessionTicketsDisabled = tls.NoClientCert, nil, true
			return c, nil
		},
	}
}
