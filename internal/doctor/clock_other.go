//go:build !linux

package doctor

// synchronized fails: this system does not report it.
func synchronized() (bool, error) { return false, ErrUnsupported }
