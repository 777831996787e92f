// Package spool writes output on a goroutine of its own, so that a slow or stuck reader of a log never holds up the
// code that logs.
//
// A Queue has a limit. Output that does not fit is dropped and counted; nothing waits for room. Handler puts the
// records of a slog.Logger into a Queue, Writer the bytes of a stream.
package spool
