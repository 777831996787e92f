//go:build !linux

package doctor

// synchronized is not known here.
func synchronized() (bool, error) { return false, ErrUnsupported }
