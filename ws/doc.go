// Package ws implements the WebSocket protocol (RFC 6455) as pure code, for clients and servers. It uses no network, no
// clock and no source of randomness.
//
// Opening handshake: a server finds the end of the request head with HeadEnd, parses the head with ParseRequest,
// decides with Request.Negotiate, and answers with AppendResponse or AppendRefusal. A client writes
// ClientRequest.AppendRequest and parses the answer with ClientRequest.ParseResponse.
//
// Frames: the caller passes the bytes that the peer sent to Reader.Next, in pieces of any size, and gets events.
// AppendFrame, AppendMaskedFrame and AppendClose make frames for the peer. A Reader is a small struct without pointers
// into buffers. AppendState saves it between any two bytes of the stream, and LoadState restores it, also in another
// process.
//
// A Reader is not safe for concurrent use. A ReaderConfig is, as long as nobody changes it. No function keeps its
// arguments or starts a goroutine. Slices in events alias the input and are valid until the next call.
package ws
