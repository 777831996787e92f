// Package spool writes output on a goroutine of its own, so that a slow or blocked reader of a log never delays the
// code that logs.
//
// A Queue has a limit. Output that does not fit is dropped and counted; nothing waits for room. Handler queues the
// records of a slog.Logger, Writer the bytes of a stream.
package spool
