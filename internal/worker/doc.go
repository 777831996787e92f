// Package worker is a process that serves connections: one event loop with its WebSockets, and net/http for the rest.
//
// A [Worker] joins parts that know nothing of each other:
//
//	engine.Engine      the event loop and its connections
//	access.Admission   who is admitted; access.Tracker, their sessions; access.Orders, who has to leave
//	registry.Client    the link to the state that all workers share
//	broker.Local       messages between connections of all workers
//	host               connections that move: internal/handoff's Host
//	fallback           requests that are not upgrades, on net/http
//
// In a cluster, [Worker.Serve] is its life: from the primary's first socket to the last connection.
package worker
