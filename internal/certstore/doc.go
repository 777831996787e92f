// Package certstore is the folder of automatic certificates: those that were obtained from an authority, the key of the
// account there, and the answers to its challenges. One process writes it, and all workers read it.
//
// The files have the names and the content that golang.org/x/crypto/acme/autocert gives them, so a program that has
// used autocert can pass its folder on:
//
//	example.com             a private key, its certificate, and the intermediates, in PEM
//	example.com+token       the same for the challenge tls-alpn-01
//	TOKEN+http-01           the answer to the challenge http-01
//	acme_account+key        the private key of the account
//	example.com+failed      how often the authority has refused, when and why; autocert has no such file
//
// The names of hosts and tokens that clients ask for are checked before a path is made of them.
package certstore
