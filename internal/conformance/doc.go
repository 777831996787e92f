// Package conformance holds the rules of RFC 6455, RFC 7692, RFC 9110 and RFC 9112 that a WebSocket server can be seen
// to keep or break, and runs them against a server over TCP.
//
// A [Rule] is one requirement with its section. It has cases: bytes that a client sends, and what a server must answer.
// Rules returns all of them as data. [Target] is the server, which may be any one that echoes messages; its features
// tell which cases apply. [Plan] is how a case is run: as the first or as a later request of its connection, with its
// bytes in one piece, one by one, or together with the request, or cut by a move of the connection to another process.
//
// ClientRules and RunClients are the same for a client, a [ClientTarget]: a [Peer] is what a server answers and sends,
// and what the client must do.
//
// The client here is written for this purpose and shares no code with package ws or with the compression of this
// project: a fault that both sides share would stay hidden otherwise. It checks each frame of the server as strictly as
// the server should check those of a client.
//
// Run is safe for concurrent use. Each case has a goroutine that writes and one that reads; both have ended when Run
// returns.
package conformance
