// Package doctor estimates how many connections a machine holds, what limits that, and how to raise the limit.
//
//	Read (files below a root) → Machine → Examine (arithmetic, no system calls) → Report → text, JSON, sysctl.d
//
// Only [Read] touches the system. What it cannot read is absent, and results in a finding, never in an error. [Examine]
// is pure, except for [Want.Probe]. It derives each wanted value from the requested number of connections;
// docs/doctor.md has the formulas. The package starts no goroutines and keeps no state.
package doctor
