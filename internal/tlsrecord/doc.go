// Package tlsrecord is the record layer of TLS 1.3 after the handshake, as pure code: bytes in, bytes out, no clock, no
// net. crypto/tls does the handshake; a [Writer] and a [Reader] continue with its traffic secrets.
//
//	plaintext → Writer.Append → records → peer
//	peer → records (Size tells where one ends) → Reader.Open → Data, KeyUpdate, Closed, or an error with its alert
//
// It implements RFC 8446 §5 (records), §4.6.3 (KeyUpdate), §6 (alerts), §7.1 to §7.3 (keys) and appendix B.4 (suites)
// for a server. What it refuses it names by the alert that the peer has to get: [Error]. The ciphers and HMAC are those
// of the standard library.
//
// A Reader or Writer can be taken down to a [State] at the end of any record, and continued by another process.
//
// No method is safe for concurrent use. A Reader and a Writer share nothing.
package tlsrecord
