// Package cluster runs a program as a primary and a number of worker processes on one port.
//
//	p, err := cluster.Start(ctx, cluster.Config{Listen: ":8080", Workers: 4})   // in the primary
//	self, err := cluster.Join()                                                 // in a worker, if cluster.IsWorker()
//
// The primary executes the same program again for each slot (1 to N), and again when a worker dies: the slot stays and
// its generation increases. It holds the listening sockets. With RoundRobin and LeastConnections it accepts connections
// and passes them to the workers in batches. It keeps its own copy of each socket until the worker has acknowledged it:
// if the worker refuses the socket or dies first, another worker gets it. With None each slot has its own listening
// socket (SO_REUSEPORT), from which the worker accepts; while the slot is empty, the primary does.
//
// The primary and each worker share one Unix socketpair. It carries messages both ways, sockets, and reports of the
// worker. Messages are opaque bytes and stay in order. Each direction has a queue with a limit: a message that does not
// fit is refused and counted. Messages that were sent just before os.Exit are lost unless Self.Flush or Worker.Flush is
// called in between. When one side ends, the other one sees the end of the socketpair; this is how a worker notices the
// death of its primary.
//
// # Parts
//
// Start runs the workers as Config describes. Restart determines when a dead worker is replaced, Policy which worker
// gets a connection. Primary.Setup changes how later workers are started, Primary.Fork starts one more,
// Worker.Disconnect ends one for good. Config.OnEvent receives the events of workers. Primary.Reload, Replace, Scale
// and Rebalance replace workers and move their connections; Primary.Exec replaces the program of the primary itself.
//
// In a worker, Join returns a Self, which calls Hooks. Self.Listen and Self.ListenPacket return sockets that workers
// share. SendHandle passes open sockets and files together with messages, in both directions. Wait waits for room after
// ErrOverloaded. docs/cluster.md compares all of it with Node's cluster module.
//
// # Goroutines
//
// The methods of Primary, Worker and Self are safe for concurrent use. One goroutine calls Config.OnEvent, in the order
// of the events. Config.OnMessage, Config.OnHandle, Config.OnReport and the functions of Hooks are called by the
// goroutine that reads from that worker, or from the primary. A call that takes long delays what that goroutine reads
// next, and nothing else.
//
// # Platforms
//
// Linux only. On other platforms Start and Join return ErrUnsupported.
package cluster
