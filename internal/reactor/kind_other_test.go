//go:build !linux

package reactor_test

// platformKinds are the kinds that only this platform has.
func platformKinds() []kind { return nil }
