// Package resource is what a process may take of its machine: memory, processors and descriptors.
//
// [ReadMemory] and [ReadProcessors] tell what there is: what the machine has, and what the groups that bound the
// process (cgroups, versions 1 and 2) leave of it. They read files and keep nothing; a tree that was recorded elsewhere
// can be read in the same way. [Settings] work out what each of several workers runs with.
//
// Three things keep a running process within its limits: a [MemoryGuard] refuses new connections while memory is short,
// a [HeapTrimmer] gives memory back to the system, and an [IdleTicker] lets a process sleep while nothing happens.
package resource
