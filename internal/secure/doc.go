// Package secure is the server's end of TLS: certificates that are read again when their files change, keys of session
// tickets that all workers share, and connections whose handshake takes place in their first Read.
//
//	files → Certificates (verified) ─┐
//	tickets (a Ratchet) ─────────────┴→ Server: the current tls.Config → Server.Wrap: a Conn for the event loop
//
// A Server keeps what was valid last if its files are not any more, and gives it to one in another process (Keep,
// Restore): to a worker that starts, over the registry, and to the program that replaces the primary.
//
// crypto/tls has the protocol. A Server bounds how many handshakes compute at a time, so that a crowd of new clients
// does not take the processor from the connections that are open.
package secure
