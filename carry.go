package expedite

import (
	"encoding"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/expedite-go/expedite/internal/access"
)

// State moves Conn.Data with its connection: see Handler.State. Carry and CarryWith return one.
type State interface {
	// check reports why values of this type cannot move.
	check() error
	// fresh returns the Data of a new connection.
	fresh() any
	// encode returns Data and its version as bytes.
	encode(data any) ([]byte, error)
	// decode returns the Data that encode wrote, in this release or another one.
	decode(b []byte) (any, error)
}

// Carried is the State of connections whose Data is a *T. Carry and CarryWith return one; the zero value does not work.
type Carried[T any] struct {
	write   func(v *T) ([]byte, error)
	read    func(b []byte, v *T) error
	json    bool
	version uint64
	other   func(version uint64, b []byte, v *T) error
}

// Carry returns the State of connections whose Data is a *T that moves as JSON. Exported fields of T move; fields that
// only one of two releases has are left out, as package encoding/json does. Run fails if JSON cannot encode a T.
func Carry[T any]() Carried[T] {
	c := CarryWith(
		func(v *T) ([]byte, error) { return json.Marshal(v) },
		func(b []byte, v *T) error { return json.Unmarshal(b, v) },
	)
	c.json = true
	return c
}

// CarryWith returns the State of connections whose Data is a *T that write encodes and read decodes. Write must not
// keep v, and read must not keep b. If write fails, the connection stays where it is, as with Handler.Suspend; if read
// fails, the connection is closed with 1012, as with Handler.Resume.
func CarryWith[T any](write func(v *T) ([]byte, error), read func(b []byte, v *T) error) Carried[T] {
	return Carried[T]{write: write, read: read}
}

// Version returns a copy of c whose encoding has a version; without Version it is 0. A worker that receives another
// version calls other: with a smaller one after an upgrade, with a larger one when a deploy is rolled back. If other
// fails or is nil, the connection is closed with 1012.
func (c Carried[T]) Version(version uint64, other func(version uint64, b []byte, v *T) error) Carried[T] {
	c.version, c.other = version, other
	return c
}

func (c Carried[T]) check() error {
	if c.write == nil || c.read == nil {
		return errors.New("expedite: Handler.State has no functions: make it with Carry or CarryWith")
	}
	if !c.json {
		return nil
	}
	if t := reflect.TypeFor[T](); hidden(t) {
		return fmt.Errorf("expedite: Handler.State: no field of %v is exported, so JSON leaves all out: "+
			"export those that are to move, or use CarryWith", t)
	}
	if _, err := c.write(new(T)); err != nil {
		return fmt.Errorf("expedite: Handler.State: %w", err)
	}
	return nil
}

// hidden reports whether JSON would leave out every field of a struct.
func hidden(t reflect.Type) bool {
	marshaler := reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()) ||
		reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextMarshaler]())
	if t.Kind() != reflect.Struct || marshaler || t.NumField() == 0 {
		return false
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() || f.Anonymous {
			return false
		}
	}
	return true
}

func (Carried[T]) fresh() any { return new(T) }

func (c Carried[T]) encode(data any) ([]byte, error) {
	v, ok := data.(*T)
	if !ok || v == nil {
		return nil, fmt.Errorf("expedite: Data is a %T, Handler.State carries a %v", data, reflect.TypeFor[*T]())
	}
	b, err := c.write(v)
	if err != nil {
		return nil, fmt.Errorf("expedite: Handler.State: %w", err)
	}
	return append(binary.AppendUvarint(nil, c.version), b...), nil
}

func (c Carried[T]) decode(b []byte) (any, error) {
	version, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, access.ErrRecord
	}
	v, err := new(T), error(nil)
	switch {
	case version == c.version:
		err = c.read(b[n:], v)
	case c.other != nil:
		err = c.other(version, b[n:], v)
	default:
		err = fmt.Errorf("its version is %d, this program reads version %d", version, c.version)
	}
	if err != nil {
		return nil, fmt.Errorf("expedite: Handler.State: %w", err)
	}
	return v, nil
}

var _ State = Carried[struct{}]{}
