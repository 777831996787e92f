// Package cluster runs a program as a primary and a number of worker processes on one port.
//
//	p, err := cluster.Start(ctx, cluster.Config{Listen: ":8080", Workers: 4})   // in the primary
//	self, err := cluster.Join()                                                 // in a worker, if cluster.IsWorker()
//
// The primary executes the same program again for each slot (1 to N), and again when a worker dies: a slot stays, its
// generation grows. It holds the listening sockets. With RoundRobin and LeastConnections it accepts, and passes
// sockets to the workers in batches; it keeps its own copy of each until the worker has acknowledged it, so that a
// socket which a worker refuses, or dies over, goes to the next. With None each slot has a listening socket of its own
// (SO_REUSEPORT), from which the worker accepts, and the primary while the slot is empty.
//
// Between the primary and each worker runs one Unix socketpair: messages in both ways, sockets, and a report of the
// worker once in a while. Messages are opaque bytes, in order; each way has a queue with a limit, and what finds it
// full is refused and counted. What was sent right before os.Exit is lost, unless Self.Flush or Worker.Flush comes
// between. The end of the socketpair is the news that the other side is gone: a worker is told of
// its primary's death that way.
//
// # Parts
//
// Start and Config run the workers, Restart tells when one that died is replaced, Policy how connections find them.
// Primary.Setup changes what later workers are started with, Primary.Fork starts one more, Worker.Disconnect ends one
// for good. Config.OnEvent is told what happens. In a worker, Join makes a Self, whose Hooks are called; Self.Listen
// and Self.ListenPacket get sockets that workers share. SendHandle, in both ways, passes open sockets and files beside
// messages, and Wait waits for room after ErrOverloaded. docs/cluster.md compares all of it with Node's cluster.
//
// # Goroutines
//
// Methods of Primary, Worker and Self are safe for any goroutine. Config.OnEvent is called by one goroutine, in order.
// Config.OnMessage, Config.OnHandle, Config.OnReport and the functions of Hooks are called by the goroutine
// that reads from that worker, or from the primary: a call that takes long holds up what comes after it, and nothing
// else.
//
// Linux only; elsewhere Start and Join fail with ErrUnsupported.
package cluster
