// Package forwarded determines the client of a request that has passed proxies: which peers are trusted (Trust), and
// what the fields Forwarded (RFC 7239), X-Forwarded-For and X-Forwarded-Proto of a trusted peer say.
//
// Anybody can send these fields, and proxies append to what they receive. So the lists are read from the right, where
// the trusted peer has written, and only as far as the addresses in them are trusted too. The rest, which a client may
// have invented, is not even parsed.
package forwarded
