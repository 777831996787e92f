// Package memory tells how much memory and processor time there is for this process: what the machine has, and what the
// groups that bound the process (cgroups, version 1 and 2) leave of it.
//
// Read looks at files and keeps nothing. A tree that was recorded elsewhere can be read in the same way.
package memory
