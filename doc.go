// Package expedite is a WebSocket application kit: write handlers, and serve them from a cluster of worker processes.
//
//	app := expedite.New(expedite.Config{Addr: ":8080"})
//	app.Handle("/chat", expedite.Handler{
//		Open:    func(c *expedite.Conn) { c.Subscribe("room") },
//		Message: func(c *expedite.Conn, m expedite.Message) { app.Publish("room", m) },
//	})
//	if err := app.Run(ctx); err != nil && !errors.Is(err, expedite.ErrTrial) {
//		log.Fatal(err)
//	}
//
// # Processes
//
// App.Run makes the process that was started by hand the primary. The primary holds the listening sockets, starts the
// same program again as worker 1 to N, passes accepted sockets to them, numbers their publications, and replaces
// workers that die. It runs none of your callbacks. Each worker has one event loop and runs them.
//
// # Messages
//
// A message goes from the socket through the event loop and the protocol to Handler.Message. Conn.Send goes straight
// back to the loop. App.Publish goes to the primary, which gives the publication a number and passes it to every
// worker, including the sender's, in the same order.
//
// # Goroutines
//
// Callbacks of one connection never overlap. By default they run on goroutines and may block; with Handler.Inline they
// run on the event loop and must not. Unless their documentation says otherwise, methods of App and Conn are safe for
// concurrent use and never block.
package expedite
