// Package topic is the subscription table of one event loop: which connections hear a topic, and which topics a
// connection hears. Connections are small numbers that are used again.
//
//	Subscribe(topic, connection) ──► Table ──► Members(topic): whom a publication goes to
//	Drop(connection)             ──►       ──► Topics(connection): what goes along when it moves
//
// The table is made for many connections with few topics each: what it keeps per connection and per subscription
// holds no pointers, so that the garbage collector does not walk it, and a topic's members are one dense list.
//
// A Table is a plain structure for one goroutine at a time: it has no lock, and callers that share it bring one.
package topic
