// Package rpc exchanges requests with answers, and notices without, over a link that carries messages. Its messages
// begin with four zero bytes, which no other message on the link does, so that both can share it.
//
// A [Peer] is one side. It owns no goroutine and no connection: the owner of the link provides a function that sends,
// and passes what it receives to Receive.
package rpc
