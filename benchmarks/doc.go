// Command benchmarks compares Expedite with other servers on the same machine.
//
//	go run . echo         CPU time per echoed message of 20 bytes
//	go run . broadcast    CPU time per delivery of a message to 1,000 connections
//	go run . idle         memory per idle connection, with 15,000 of them
//	go run . machines     CPU time per delivery from one machine to another, over Redis; Socket.IO needs npm
//	go run . tls          the same over TLS, beside gws and bare crypto/tls; handshakes, and a crowd of them
//	go run . handoff      moves of live connections from one worker to the next, with 15,000 of them
//	go run . million      a million connections with identities and sessions: opened, published to, moved, closed
//	go run . tuning       effects of the settings in docs/tuning.md, as reported by "expedite bench"
//
// Each server is a separate process with GOMAXPROCS=1, pinned to one core; all clients run in one event loop on
// another. Rounds of the servers alternate, so that changing conditions on the machine affect both. Compare the ratios
// of CPU time per message: the absolute figures depend on the machine and the moment.
//
// Machines runs the two servers of each peer on one core, and Redis and all clients on the other. A server has its
// default GOMAXPROCS there. Two peers show what remains when parts are left out: alone is one server without Redis, and
// bare is two loops that only make the system calls.
//
// Tls takes echo, idle, handshakes and crowd as arguments. Handshakes are those of clients that only connect and leave;
// the bare server only accepts them. Crowd is what echoes of other connections notice of 2,000 clients at once.
//
// Handoff measures Expedite alone and pins nothing, because two workers take part in a move. It needs as many open
// files per process as there are connections, and fails if a connection is lost. With -tls, the connections use TLS.
package main
