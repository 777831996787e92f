//go:build !unix

package statedir

import (
	"errors"
	"os"
)

// tryLock does nothing: nothing but a development server runs here.
func tryLock(*os.File) error { return nil }

func duplicate(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
