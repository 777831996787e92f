// Package access decides, in a worker, who is admitted, and who has to leave.
//
// A handshake passes [Admission]: origin, token, deny list, the application's own check, session. What is known of the
// client is kept in a [Client], one for each connection. The [Tracker] joins connections to their sessions: it attaches
// them, claims for those that have opened, and tells the store which connections live and which have ended. [Orders]
// carries out what the registry orders: it closes the connections of those who were kicked or revoked, also the ones
// that were opening or moving when the order came.
//
//	handshake → Admission.Admit → Tracker.Attach → engine opens → Orders.Opened, Tracker.Opened → … → Tracker.Ended
//	registry.Client → Orders.Obey → engine.Sweep → Client.names → close
//
// Methods are safe for concurrent use unless they say otherwise.
package access
