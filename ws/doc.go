// Package ws is the WebSocket protocol (RFC 6455) as pure code, for both roles: no network, no clock, no randomness.
//
// Opening handshake: a server finds the end of a request head with HeadEnd, reads it with ParseRequest, decides with
// Request.Negotiate and answers with AppendResponse or AppendRefusal. A client writes ClientRequest.AppendRequest and
// reads the answer with ClientRequest.ParseResponse.
//
// Frames: bytes from the peer go into Reader.Next, which takes them at any cut and gives events; frames to the peer are
// made by AppendFrame, AppendMaskedFrame and AppendClose. The state of a Reader is a small struct, which can be written
// out with AppendState and read back with LoadState in another process, between any two bytes.
//
// A Reader is not safe for concurrent use; a ReaderConfig is, while nobody changes it. Functions keep nothing of what
// they are given, and nothing starts a goroutine. Slices in events alias the input and are valid until the next call.
package ws
