// Package traffic runs a mixed load of WebSocket clients that verify every byte, together with the application that
// they connect to. It is test support: a test replaces workers while the clients are active, and the Report shows
// whether any client noticed.
//
// Routes registers the application. Start opens the clients listed in a Config. Run.Stop waits for outstanding
// messages, closes the clients and returns the report. The kinds of clients are:
//
//   - small: short echoes, several in flight; their round-trip times are measured;
//   - fragmented: long texts, split into frames and writes at random bytes, with pings in between;
//   - dribbling: the handshake request and the echoes are sent a few bytes at a time;
//   - slow: long echoes, read a little at a time, so that data is always queued in the server;
//   - publisher and subscriber: numbered broadcasts on a topic, received without a gap from the first one on;
//   - directed: pairs that send each other numbered messages by connection id;
//   - counting: messages that the server numbers, using the application's state of the connection;
//   - churn: connections that open, echo twice and close.
//
// Every message carries its sender, its number, its opcode and a CRC-32 over all of these and the body. The clients use
// them to detect messages that are damaged, lost, duplicated or out of order. The clients use net.Conn and package ws
// directly, because they split frames in ways that no client library would. All randomness, including the masking keys,
// comes from Config.Seed: these clients are unsuitable for production.
//
// # Concurrency
//
// Start creates at most two goroutines per client, a reader and a writer. A writer ends when Stop begins or when its
// connection ends; a reader ends when its connection ends. All have ended when Stop returns. The methods of Run are
// safe for concurrent use, but Stop must be called exactly once. If Start fails, there is nothing to stop.
package traffic
