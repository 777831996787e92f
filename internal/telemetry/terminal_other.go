//go:build !linux

package telemetry

import "os"

// IsTerminal says whether f is a terminal: a person may be reading. Nil and closed files are none. Here it is a guess:
// a character device other than the null device.
func IsTerminal(f *os.File) bool {
	if f == nil {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
