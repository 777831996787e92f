// Package resource determines and enforces what a process may use of its machine: memory, processors and descriptors.
//
// [ReadMemory] and [ReadProcessors] read what the machine has, and what the cgroups of the process (versions 1 and 2)
// allow it to use. They cache nothing, and they can also read a recorded copy of /proc and /sys. [Settings] computes
// from these facts the [Limits] of each worker, and [Budgets] divides the heap of a worker.
//
// Three types keep a running process within its limits. A [MemoryGuard] refuses new connections while memory is short,
// a [HeapTrimmer] returns unused memory to the operating system, and an [IdleTicker] reduces how often an idle process
// wakes up.
package resource
