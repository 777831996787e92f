// Package handoff implements the protocol with which live connections move from one worker to another, over a
// socketpair that the primary has made. It knows nothing of WebSockets: a Host freezes, admits and thaws connections.
// The package guarantees that each connection has exactly one owner at any time, and that messages to it reach it.
//
//	giver                                  taker
//	  HELLO ─────────────────────────────────►      versions, free descriptors, position: checked before any freeze
//	  ◄───────────────────────────────── HELLO
//	  BATCH 1, BATCH 2 … (states and sockets) ►      at most window batches in transit
//	  ◄──────────────────────────── ACK 1, ACK 2    from its ACK on, the taker owns the batch and reads from it
//	  FORWARD (messages for those that left) ─►
//	  END ───────────────────────────────────►
//	  ◄─────────────────────────────────── GOT      the giver tells the primary, which settles the routes
//	  LAST ──────────────────────────────────►      no more messages will be forwarded
//
// The rule of ownership: the taker validates a batch, sends ACK, and only then touches the sockets; the giver keeps
// its copies until the ACK. The ACK may name connections that the taker cannot read: it has closed its copies of
// them, and they thaw at the giver, which owns them. A batch that was refused (NACK), or that was in transit when the
// taker died, thaws at the giver. If a move must be complete and cannot be, REVERT reverses the channel: what has moved
// comes back in the same way.
//
// All methods of End and Host belong to the event loop of their worker, unless they are documented otherwise. An End
// has two goroutines, one that reads and one that writes. Both end with the channel.
package handoff
