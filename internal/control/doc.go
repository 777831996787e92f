// Package control is the control socket of a running Expedite: HTTP with JSON over a Unix socket. It contains the
// server, which the primary runs, the client, which the command line uses, and the messages between them.
//
// The primary calls [Listen] and passes a [Target] to [Server.Serve]. The command calls [Dial] and a method of
// [Client]. The endpoints are:
//
//	GET  /status       200 and a Status
//	POST /stop         a StopRequest; 202 at once, and a body that ends when the server does
//	POST /reload       a ReloadRequest; 200 and lines of JSON
//	POST /scale        a ScaleRequest; the same
//	POST /rebalance    the same
//	GET  /sessions     ?user=…&limit=N; 200 and a SessionList
//	POST /kick         a KickRequest; 200 and a KickResult
//	POST /revoke       a RevokeRequest; 200 and a RevokeResult
//	POST /logs         a LogsRequest; 200 and log lines, which are JSON objects
//	POST /publish      a PublishRequest; 200 and {}
//	POST /drain        a DrainRequest; 200 and {}
//	GET  /ready        200 and a Readiness
//	POST /reopen-logs  200 and {}
//	errors             4xx or 5xx and {"error":{"code":"…","message":"…"}}
//
// A reload, scale or rebalance is an operation. Its answer is a line {"progress":Progress} for each report and a last
// line, {"result":Result} or {"error":Error}. An operation continues if its client disconnects. A primary that replaces
// itself first sends {"replacing":{"generation":G,"result":Result}}, where G is its own generation. Then the connection
// ends, and the new primary answers /status at the same path with a generation above G. If the replacement fails, the
// last line is an error.
//
// Where log lines are missing because the client was slow, there is a line {"lost":N} or {"lost":N,"worker":K}. The
// last line may be {"error":Error}. Log lines end if the client disconnects.
//
// The file of the socket belongs to one server; see package unixsocket. On Linux the server also checks the user of its
// clients.
//
// Concurrency: all methods are safe for concurrent use. Serve calls the Target on one goroutine per request, and those
// calls may block until their context ends.
package control
