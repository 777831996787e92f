// Package fdpass sends frames of bytes, and open file descriptors with them, over a Unix stream socket between two
// processes of one machine.
//
// A frame consists of the length of its payload (4 bytes, little-endian), a kind, the number of its descriptors, and
// the payload. Descriptors are sent by the system call that sends the frame, and each such call sends one frame. So a
// receiver that gets fewer descriptors than announced knows which frame they belong to.
//
// One goroutine may read from a Conn while another one writes.
package fdpass
