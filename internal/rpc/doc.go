// Package rpc lets the two sides of a message link ask each other: requests with answers, and notices without. Messages
// begin with four zero bytes, which no other message on the link does, so that both can share it.
//
// A [Peer] is one side. It owns no goroutine and no connection: whoever has the link gives it a function that sends,
// and calls Receive with what came.
package rpc
