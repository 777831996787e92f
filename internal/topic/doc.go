// Package topic is the subscription table of one event loop: which connections hear a topic, and which topics a
// connection hears. Connections are small numbers that are used again.
//
// A Table is a plain structure for one goroutine at a time.
package topic
