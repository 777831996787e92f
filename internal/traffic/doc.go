// Package traffic is a mixed crowd of WebSocket clients that check every byte, and the application they talk to. It is
// test support: whoever replaces workers while the crowd talks learns from its Report whether anybody noticed.
//
// Routes is the application. Start opens the clients that a Config names, Run.Stop lets each of them hear what it is
// still owed, closes them and reports. The clients are of these kinds:
//
//   - small: short echoes, several in flight; their round-trip times are measured;
//   - fragmented: long text, cut into frames and writes at random bytes, with pings in between;
//   - dribbling: echoes, and the request before them, a few bytes at a time;
//   - slow: long echoes, read a little at a time, so that the server always has something queued;
//   - publisher and subscriber: numbered broadcasts on a topic, heard without gap from the first one on;
//   - directed: pairs that send each other numbered messages by connection id;
//   - counting: messages that the server numbers from the application's own state of the connection;
//   - churn: connections that open, echo twice and close.
//
// Every message carries its sender, its number, its opcode and a CRC-32 of it all. What comes back is judged by them:
// bad, lost, doubled, or out of order. The clients are written over net.Conn with package ws, as they cut frames where
// no client library would. Randomness comes from Config.Seed, masking keys included: this is no client for real use.
//
// # Concurrency
//
// Start makes at most two goroutines per client: one reads, one writes. The writers end when Stop begins or their
// connection ends, the readers when their connection ends; all have ended when Stop returns. The methods of Run are
// safe for any goroutine, but Stop must be called once. A Run that Start did not return needs no Stop.
package traffic
