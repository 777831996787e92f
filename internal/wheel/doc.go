// Package wheel holds one deadline per index in a hashed timing wheel: the coarse timers of an event loop.
//
// An index is a small number chosen by the caller, such as the slot of a connection. Set files the index under the tick
// at which its deadline will have passed. Advance walks the ticks that have passed since the previous call and fires
// what is due. The cost of setting, clearing and firing does not depend on the number of entries, and none of them
// allocates once the tables have grown. An index uses 16 bytes without pointers, so the garbage collector never scans
// them.
//
// Time is an argument: nanoseconds of a clock that does not run backwards. This package never reads a clock or waits.
//
// # Concurrency
//
// A Wheel belongs to one goroutine. The function passed to Advance may call Set, Clear, Deadline and Wait, but not
// Advance.
package wheel
