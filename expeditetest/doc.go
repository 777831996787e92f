// Package expeditetest tests the handlers of an App in milliseconds: the App runs in the process of the test, on a Unix
// socket instead of a port, and real clients talk to it.
//
//	func TestHello(t *testing.T) {
//		s := expeditetest.Start(t, setup) // the function that main passes to command.Main
//		alice, bob := s.Dial("/chat/go", s.As("alice")), s.Dial("/chat/go", s.As("bob"))
//		alice.Send("hello")
//		if got := bob.Receive(); got != "alice: hello" {
//			t.Errorf("bob received %q", got)
//		}
//	}
//
// A test has as many Servers and Clients as it likes, and may run in parallel with others. All of them end with the
// test, and leave no goroutine behind. Whatever goes wrong fails the test with a reason: a setup that returns an error,
// a refused handshake, a message that does not come. No wait lasts longer than ten seconds.
//
// # Identities
//
// Start gives the App a Verifier of its own, which knows the tokens that Server.Token and Server.As make. The program
// under test needs no change, and no keys. Those that choose their own Config.Auth.Verifier get their own tokens in a
// header of Dial.
//
// # Messages that must not come
//
// Do not wait for silence. Send what the client receives in any case after it, and expect that next: messages of one
// connection, and publications of one machine, have an order.
//
// # What is different
//
// The App serves alone, without a primary and workers, and clients of a Unix socket have no address, so Conn.Remote
// returns the zero value. Sessions, history, presence and publications work as in a worker. What needs several
// processes, a reload for instance, is not covered: run the program for that.
package expeditetest
