//go:build !damage

package primary

// damaged reports whether the process shall do something wrong on purpose. Only builds with the tag damage do: they
// prove that the tests which look for lost messages would notice.
func damaged(string) bool { return false }
