// Package auth says who is calling.
//
// A client comes with a request to upgrade. What happens to it, in this order, before the upgrade:
//
//	Origins.Allows       may the page that made it connect at all?
//	Extractor.Extract    the credential: ?ticket=, Authorization, subprotocol, ?access_token=, cookie
//	Verifier.Verify      whose token it is: an Identity, or an *Error that says why not
//	the deny list        was it revoked?
//	Extractor.Strip      the request without the credential, for the application
//	Error.Status, .Challenge, .Body, .RetryAfter    the answer to a client that is not let in
//
// From then on the Identity belongs to the connection and does not change. It moves with the connection, and a Permit
// decides by it about topics. Conn.Refresh verifies another token of the same user.
//
// # Verifiers
//
// A Verifier finds out whose a token is. JWT checks signed tokens with keys of a KeySource: a KeySet that is fixed, a
// File that is followed, a JWKS of a provider, or several by JoinKeys. Introspector asks whoever made an opaque token.
// Chain tries one after the other, NewIssuers binds each issuer to its own keys, Cache remembers what was found
// genuine. An application may have its own: a VerifierFunc that answers ReasonUnknown for tokens that are not its kind,
// and a plain error when it cannot tell.
//
// What a token says about itself is believed only as far as it has to be. Its alg must be one that the key is good for
// by its type and size, and that the key's JWK and the configuration allow; its kid is a name to look for and nothing
// else; keys that it brings along, or addresses of keys, are not looked at. JSON and base64 have one form here: names
// that stand twice, text that is no UTF-8 and spare bits are refused, as two readers would understand them differently.
// The table of TestAttacks is the list.
//
// The JOSE algorithms are those of golang-jwt, and the forms of keys those of jwkset. Reading tokens is ours: those
// libraries are as lenient as encoding/json. Following a JWK set is ours, too: the one of keyfunc and jwkset has no
// limit on an answer's size, lets clients wait for its rate limiter, gives up a whole set for one bad key, and takes
// secrets from it.
//
// # Goroutines
//
// Everything may be used by any goroutine at the same time, but a value must be set up before: fields of Extractor and
// DenyList, File.OnError. Verify and Keys may block until their context ends; nothing else does. A JWKS has one
// goroutine, which ends with Close, and makes all its requests: there is never more than one at a time. An Introspector
// has one for each question that is under way, at most 1,088, which end with their timeout or with Close.
//
// # Limits
//
// A token has 8 KiB (Extractor.MaxToken) and never more than 64, a user 256 bytes, an Identity 256 scopes and 4 KiB of
// claims, a key set 64 keys, an answer of a provider 1 MiB or 64 KiB, and each cache a number of entries. The counters
// are in the Stats of JWKS, Introspector and Cache, in File.Reloads and DenyList.Refused; tokens that are refused are
// counted by their Reason where they are answered.
//
// # What is never logged
//
// Tokens, tickets, secrets, keys and claims. No error says any part of a token, neither Message, which the client gets,
// nor Err, which only the log does. Credential, Identity, Key and SigningKey print as names: a token is named by its
// jti, or by HashToken. Addresses of providers may not hold a password, and errors name their host only.
package auth
