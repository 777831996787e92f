// Package auth identifies clients.
//
// Before an upgrade, a request passes these steps, in this order:
//
//	Origins.Allows       may the page that made the request connect at all?
//	Extractor.Extract    the credential: ?ticket=, Authorization, subprotocol, ?access_token=, cookie
//	Verifier.Verify      the Identity that the token names, or an *Error
//	the deny list        was it revoked?
//	Extractor.Strip      the request without the credential, for the application
//	Error.Status, .Challenge, .Body, .RetryAfter    the answer if one of the steps refuses
//
// From then on the Identity belongs to the connection and does not change. It moves with the connection, and a Permit
// decides by it about topics. Conn.Refresh verifies another token of the same user.
//
// # Verifiers
//
// A Verifier checks a token and returns its Identity. JWT verifies signed tokens with the keys of a KeySource: a fixed
// KeySet, a File that is read again when it changes, a provider's JWKS, or several joined by JoinKeys. Introspector
// sends an opaque token to the server that issued it. Chain tries several Verifiers in turn, NewIssuers ties each
// issuer to its own keys, and Cache remembers tokens that were valid. An application can implement its own, for example
// with a VerifierFunc, which returns ReasonUnknown for tokens of another kind, and an error that is not an *Error if it
// cannot decide.
//
// A token's statements about itself count as little as possible. Its alg must be allowed by the type and size of the
// key, by the key's JWK and by the configuration. Its kid is used to look up keys, for nothing else. Keys, and
// addresses of keys, in the token are ignored. JSON and base64 have a single valid form here: duplicate names, text
// that is not valid UTF-8 and spare bits are refused, because two readers would understand them differently. The table
// of TestAttacks lists what is refused.
//
// The JOSE algorithms are those of golang-jwt, and the key formats those of jwkset. This package parses tokens itself,
// because those libraries are as lenient as encoding/json. It also refreshes JWK sets itself: keyfunc and jwkset do not
// limit the size of a response, make clients wait for their rate limiter, discard a whole set because of one bad key,
// and accept secrets from it.
//
// # Goroutines
//
// Everything is safe for concurrent use once it is set up: set the fields of an Extractor and File.OnError first.
// Verify and Keys may block until their context ends; nothing else blocks. A JWKS has one goroutine, which ends with
// Close and makes all its requests, one at a time. An Introspector has a goroutine for each pending request, at most
// 1,088, which ends with its timeout or with Close.
//
// # Limits
//
// A token has at most 8 KiB (Extractor.MaxToken) and never more than 64 KiB, a user 256 bytes, an Identity 256 scopes
// and 4 KiB of claims, a key set 64 keys, a response of a provider 1 MiB (JWKS) or 64 KiB (introspection), and each
// cache a number of entries. The Stats of JWKS, Introspector and Cache and File.Reloads have the counters. Refused
// tokens are counted by Reason where they are answered.
//
// # What is never logged
//
// Tokens, tickets, secrets, keys and claims. No error contains any part of a token: neither Message, which the client
// gets, nor Err, which only the log gets. Credential, Identity, Key and SigningKey print as names. A token is named by
// its jti or by HashToken. The address of a provider must not contain a password, and errors contain only its host.
package auth
