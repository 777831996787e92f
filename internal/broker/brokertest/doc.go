// Package brokertest is the conformance suite of what joins workers by package broker: Run holds a way of joining them,
// with whatever transport, to the promises of that package.
//
//	test ── Worker.Publish, SendTo, CloseConn ──► Cluster under test ── deliver ──► what each worker got ──► compare
//
// Nothing in it is timed: it waits for what must come, and where nothing may come, for publications sent afterwards.
//
// Methods of a Cluster are called by one goroutine, those of a Worker and deliver by several.
package brokertest
