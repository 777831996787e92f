// Package auth says who is calling.
//
// An Identity is what the rest of Expedite knows about a client. Handler.Authorize receives one before the upgrade and
// fills it in; from then on it belongs to the connection and is not changed.
package auth
