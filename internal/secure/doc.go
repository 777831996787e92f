// Package secure is the server's end of TLS: certificates that are read again when their files change, keys of session
// tickets that all workers share, and connections whose handshake takes place in their first Read.
//
//	files → Certificates (verified) ─┐
//	tickets (a Ratchet) ─────────────┴→ Server: the current tls.Config → Server.Wrap: a Conn for the event loop
//
// crypto/tls has the protocol. A Server bounds how many handshakes compute at a time, so that a crowd of new clients
// does not take the processor from the connections that are open.
package secure
