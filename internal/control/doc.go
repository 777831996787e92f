// Package control is how a running Expedite is asked and told things from outside: HTTP with JSON over a Unix socket
// for the command line, and the handler of the admin listener (metrics, profiles).
//
// The primary calls [Listen] and gives [Server.Serve] its [Target]; the command calls [Dial] and [Client.Status] or
// [Client.Stop]. Between the two go [Status], [StopRequest] and an error object, nothing else:
//
//	GET  /status    200 and a Status
//	POST /stop      202 at once, a body that ends when the server does
//	otherwise       4xx or 5xx and {"error":{"code":"…","message":"…"}}
//
// The socket's file belongs to one server: it has mode 0600 from its first moment, a file that a dead server left is
// replaced, one that a live server holds is refused. On Linux the peer's user is checked besides.
//
// Concurrency: all methods may be called from any goroutine. Serve calls the Target from a goroutine per request, and
// those calls may block until their context ends.
package control
