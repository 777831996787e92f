// Package topic implements the subscription table of an event loop: which connections are subscribed to a topic, and
// which topics a connection is subscribed to. Connections are small numbers, which may be reused.
//
//	Subscribe(topic, connection) ──► Table ──► Members(topic): the receivers of a publication
//	Drop(connection)             ──►       ──► Topics(connection): what moves with a connection
//
// The table is made for many connections with few topics each. What it keeps per connection and per subscription has no
// pointers, so the garbage collector does not scan it. The members of a topic are one dense list.
//
// A Table has no lock: callers that share one must serialize their calls.
//
// A [Pattern] selects topics by name, and [Rules] find what applies to one.
package topic
