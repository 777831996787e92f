// Package wheel holds one deadline per index in a hashed timing wheel: the coarse timers of an event loop.
//
// An index is a small number that the caller hands out, such as the slot of a connection. Set files the index under the
// tick at which its deadline will have passed; Advance walks the ticks that have passed since the previous call and
// fires what is due. Setting, clearing and firing cost the same whatever the number of entries is, and none of them
// allocates once the tables have grown: an index costs 16 bytes without a pointer, so the garbage collector never looks
// at them.
//
// Time is an argument: nanoseconds of a clock that does not run backwards. Nothing here reads a clock or waits.
//
// # Concurrency
//
// A Wheel belongs to one goroutine. The function given to Advance may call Set, Clear, Deadline and Wait, not Advance.
package wheel
