//go:build !linux

package expedite

import (
	"errors"
	"os"
)

// memoryFile is for primaries that replace themselves, which there are on Linux only.
func memoryFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }
