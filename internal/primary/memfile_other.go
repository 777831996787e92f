//go:build !linux

package primary

import (
	"errors"
	"os"
)

// memoryFile fails: primaries replace themselves on Linux only.
func memoryFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }
