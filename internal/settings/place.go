package settings

import (
	"cmp"
	"fmt"

	"github.com/expedite-go/expedite/internal/configfile"
)

// source is a kind of place.
type source uint8

const (
	fromDefault source = iota
	fromFile
	fromVariable
	fromFlag
)

// place is where the value of a setting is.
type place struct {
	source source
	name   string // of the file, variable or flag
	line   int    // of the file
}

// String returns the place for people.
func (p place) String() string {
	if p.source == fromFile {
		return fmt.Sprintf("%s:%d", p.name, p.line)
	}
	return cmp.Or(p.name, "default")
}

// fault returns an error that begins with the place of a setting.
func (p place) fault(setting string, err error) error {
	switch p.source {
	case fromFile:
		return configfile.NewError(p.line, "%s: %s: %w", p, setting, err)
	case fromDefault:
		return fmt.Errorf("--%s: %w", setting, err)
	default:
		return fmt.Errorf("%s: %w", p, err)
	}
}
