// Package brokertest is the conformance suite for ways of connecting workers with package broker, over any transport.
// Run checks that a way of connecting them keeps the guarantees of that package.
//
//	test ── Worker.Publish, SendTo, CloseConn ──► Cluster under test ── deliver ──► what each worker received ──► compare
//
// No test depends on time: it waits for what must arrive and, where nothing may arrive, for publications that were sent
// afterwards.
//
// One goroutine calls the methods of a Cluster. Several call those of a Worker, and deliver.
package brokertest
