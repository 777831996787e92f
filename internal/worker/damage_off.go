//go:build !damage

package worker

import "github.com/expedite-go/expedite/internal/handoff"

// With the build tag damage a server does on purpose what it must never do: the tests that look for losses prove by it
// that they would see one. Here it is nothing.
func damaged(string) bool { return false }

func damage(*handoff.BatchData) {}
