// Package remotestore is a session.Store at the other end of a link. The workers of a machine use the memory store of
// their primary in this way.
//
//	worker: Store ── request ──► primary: Serve ─► session.Store
//	              ◄── answer ───
//
// A request is the version of the format (1 byte), an operation (1 byte) and its arguments. An answer is a code (1
// byte), followed by the result, or by the text of an error. Package sessionwire encodes arguments and results.
//
// The two ends may be of different releases while a machine is being reloaded. Operations and codes therefore keep
// their numbers for ever. An end that does not know an operation answers with an error that begins with the text of
// errRequest; the other end then falls back to operations that it knows.
package remotestore
