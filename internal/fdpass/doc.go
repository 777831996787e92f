// Package fdpass sends frames of bytes, and open file descriptors with them, over a Unix stream socket between two
// processes of one machine.
//
// A frame is its length (4 bytes, little-endian), a kind, the number of its descriptors, and its payload. Descriptors
// travel with the system call that sends the frame, one such frame per call, so that a receiver that was given fewer
// than the frame says knows which frame it was.
//
// A Conn may be used by one reading and one writing goroutine at a time.
package fdpass
