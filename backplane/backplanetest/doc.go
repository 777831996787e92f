// Package backplanetest is the conformance suite for implementations of backplane.Backplane: see [Run].
package backplanetest
