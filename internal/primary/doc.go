// Package primary is the process that runs the workers: it supervises them, answers operators, reloads the program and
// hands everything over to the program that replaces it. It runs no code of the application.
//
// A [Primary] consists of parts with one job each:
//
//	supervisor      what the workers send and what happens to them; their latest reports
//	ControlServer   the control socket and the admin listener: status, metrics, profiles, operators' commands
//	roller          reload, scale and rebalance: one at a time
//	memoryWatchdog  replaces a worker that has grown too large
//	inheritance     what the program that replaces this one gets
//
// A process that serves alone has a [ControlServer], too, with a [WorkerGroup] of its own.
//
// All methods are safe for concurrent use unless they say otherwise.
package primary
