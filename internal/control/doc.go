// Package control is how a running Expedite is asked and told things from outside: HTTP with JSON over a Unix socket
// for the command line, and the handler of the admin listener (metrics, profiles).
//
// The primary calls [Listen] and gives [Server.Serve] its [Target]; the command calls
// [Dial] and [Client.Status] or another method of [Client]. Between the two go:
//
//	GET  /status       200 and a Status
//	POST /stop         a StopRequest; 202 at once, a body that ends when the server does
//	POST /reload       a ReloadRequest; 200 and lines of JSON
//	POST /scale        a ScaleRequest; the same
//	POST /rebalance    the same
//	GET  /sessions     ?user=…&limit=N; 200 and a SessionList
//	POST /kick         a KickRequest; 200 and a KickResult
//	POST /revoke       a RevokeRequest; 200 and a RevokeResult
//	POST /logs         a LogsRequest; 200 and log lines, which are JSON objects
//	POST /publish      a PublishRequest; 200 and {}
//	POST /reopen-logs  200 and {}
//	otherwise          4xx or 5xx and {"error":{"code":"…","message":"…"}}
//
// The lines of an operation are {"progress":Progress} each, and the last is {"result":RollResult} or
// {"error":RollError}. A primary that replaces itself says {"replacing":{"generation":G,"result":RollResult}} before, G
// being its own generation. Then the connection just ends, and the new one answers /status at the same path with a
// generation above G; if the replacement fails, an error is the last line. These operations go on when their client
// goes away.
//
// Among log lines there may be {"lost":N} or {"lost":N,"worker":K}, where some are missing because the reader was slow,
// and the last one may be {"error":RollError}. They end when their client goes away.
//
// The socket's file belongs to one server: it has mode 0600 from its first moment, a file that a dead server left is
// replaced, one that a live server holds is refused. On Linux the peer's user is checked besides.
//
// Concurrency: all methods may be called from any goroutine. Serve calls the Target from a goroutine per request, and
// those calls may block until their context ends.
package control
