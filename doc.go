// Package expedite is a WebSocket application kit: write handlers, and serve them from a cluster of worker processes.
//
//	app := expedite.New(expedite.Config{Addr: ":8080"})
//	app.Handle("/chat", expedite.Handler{
//		Open:    func(c *expedite.Conn) { c.Subscribe("room") },
//		Message: func(c *expedite.Conn, m expedite.Message) { app.Publish("room", m) },
//	})
//	if err := app.Run(ctx); err != nil {
//		log.Fatal(err)
//	}
//
// # Processes
//
// Run makes the process that was started by hand the primary. It holds the listening sockets, starts the same program
// again as worker 1 to N, passes accepted sockets to them, numbers what they publish, and replaces a worker that dies.
// It runs none of your callbacks. A worker has one event loop and runs them.
//
// # The way of a message
//
// socket, event loop, protocol, Handler.Message; then Conn.Send straight back to the loop, or App.Publish to the
// primary, which gives the message its number and passes it to every worker, the sender's included, in the same order.
//
// # Goroutines
//
// Callbacks of one connection never overlap. By default they run on goroutines and may block; with Handler.Inline they
// run on the event loop and must not. Methods of App and Conn are safe for any goroutine, and never block, unless
// their documentation says otherwise.
package expedite
