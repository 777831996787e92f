// Package doctor says what a machine can hold, what limits it, and what mends that.
//
//	Read (files below a root) → Machine → Examine (arithmetic, no system calls) → Report → text, JSON, sysctl.d
//
// [Read] is the only part that touches the system; what it cannot read is absent, and absence is a finding, never an
// error. [Examine] is pure but for [Want.Probe]. Each wanted value is derived from the number of connections that is
// asked for; docs/doctor.md has the formulas. The package needs no goroutines and keeps nothing.
package doctor
