// Package sessiontest is the conformance suite for implementations of session.Store: see [Run].
package sessiontest
