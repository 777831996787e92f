//go:build !unix

package statedir

import (
	"errors"
	"os"
)

// tryLock does nothing: these platforms are for development only.
func tryLock(*os.File) error { return nil }

func duplicate(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
