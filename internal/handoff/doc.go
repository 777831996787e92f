// Package handoff is the talk between two workers while live connections move from one to the other, over a socketpair
// that the primary has made. It knows nothing of WebSockets: a Host freezes, admits and thaws; the package sees to it
// that each connection has one owner at any time, and that messages for it find it.
//
//	giver                                  taker
//	  HELLO ─────────────────────────────────►      versions, room, position: checked before anything is frozen
//	  ◄───────────────────────────────── HELLO
//	  BATCH 1, BATCH 2 … (states and sockets) ►      at most Window under way
//	  ◄──────────────────────────── ACK 1, ACK 2    the taker owns the batch from here on, and reads only from here on
//	  FORWARD (messages for those that left) ─►
//	  END ───────────────────────────────────►
//	  ◄─────────────────────────────────── GOT      the giver tells the primary, which settles the routes
//	  LAST ──────────────────────────────────►      nothing will be forwarded any more
//
// The rule of ownership: the taker validates a batch, sends ACK, and only then touches the sockets; the giver keeps its
// copies until the ACK. A batch that is refused (NACK), or was on its way when the taker died, thaws at the giver. If
// the move is to be complete and cannot be, REVERT turns the channel around: what has moved comes back the same way.
//
// All methods of End and Host belong to the event loop of their worker, unless they say otherwise. An End has two
// goroutines, one that reads and one that writes; both end with the channel.
package handoff
