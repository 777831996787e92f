// Package acmeclient obtains certificates from an authority by ACME (RFC 8555), and renews them. One process of a
// machine does: the primary, or the one that serves alone.
//
//	Client: a goroutine per domain → golang.org/x/crypto/acme → authority
//	    ↓ certificates, answers to challenges
//	certstore.Folder → every worker: internal/secure, and internal/worker for http-01
//	    ↑ tls-alpn-01, http-01: the authority connects to any worker
//
// Nothing is kept but what is in the folder: a process that starts with valid certificates there asks nobody.
package acmeclient
