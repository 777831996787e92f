package session

import (
	"fmt"
	"maps"
	"time"
)

// Limits of a Store. A request that exceeds one of them fails with ErrTooLarge, except for the last three.
const (
	MaxValues      = 64       // values of a session
	MaxChanges     = 128      // values that one Store.Save sets or deletes
	MaxValueBytes  = 64 << 10 // bytes of all values of a session and their keys
	MaxUserBytes   = 4 << 10  // bytes of a user's name
	MaxParams      = 32       // parameters of a session
	MaxParamBytes  = 4 << 10  // bytes of all parameters of a session and their keys
	MaxNodeBytes   = 64       // bytes of Place.Node
	MaxTicketBytes = 16 << 10 // bytes of the value of a ticket

	MaxList  = 1000 // sessions in a page; longer pages are cut
	MaxBatch = 512  // sessions that a store handles in one step; it divides longer requests

	// MinTTL and MaxTTL limit TTLs: one that is outside of them is replaced by the nearest of the two.
	MinTTL = time.Millisecond
	MaxTTL = 45 * 24 * time.Hour
	// DefaultTTL is the TTL of sessions whose policy has none.
	DefaultTTL = time.Hour
)

// Validate returns ErrTooLarge if the user, the parameters or the place exceed a limit.
func (a *Attach) Validate() error { return validate(a.User, a.Params, a.Place) }

// Validate returns ErrTooLarge if the session or its values exceed a limit. It returns ErrNotFound if the id cannot be
// that of a session of its user.
func (s *Saved) Validate() error {
	if err := validate(s.User, s.Params, s.Place); err != nil {
		return err
	}
	if !s.ID.MayBelongTo(s.User) {
		return fmt.Errorf("%w: an id that is not one of this user", ErrNotFound)
	}
	return validateValues(len(s.Values), size(s.Values))
}

// Validate returns ErrTooLarge if the changes exceed a limit for every session, whatever values it has.
func (c Changes) Validate() error {
	if len(c) > MaxChanges {
		return fmt.Errorf("%w: %d changes, the limit is %d", ErrTooLarge, len(c), MaxChanges)
	}
	return validateValues(len(c)/2, size(c)) // half of them may delete
}

// Apply returns the values with the changes applied, in a new map with its own copies of the changed values. It returns
// ErrTooLarge if the result exceeds a limit.
func (c Changes) Apply(values map[string][]byte) (map[string][]byte, error) {
	if len(c) > MaxChanges {
		return nil, c.Validate()
	}
	changed := make(map[string][]byte, len(values)+len(c))
	maps.Copy(changed, values)
	for k, v := range c {
		if v == nil {
			delete(changed, k)
		} else {
			changed[k] = append(make([]byte, 0, len(v)), v...) // not nil, even if it is empty
		}
	}
	return changed, validateValues(len(changed), size(changed))
}

// ValidateTicket returns ErrTooLarge if the value of a ticket exceeds its limit.
func ValidateTicket(value []byte) error {
	if len(value) > MaxTicketBytes {
		return fmt.Errorf("%w: a ticket of %d bytes, the limit is %d", ErrTooLarge, len(value), MaxTicketBytes)
	}
	return nil
}

func validate(user string, params map[string]string, place Place) error {
	switch n := size(params); {
	case len(user) > MaxUserBytes:
		return fmt.Errorf("%w: a user of %d bytes, the limit is %d", ErrTooLarge, len(user), MaxUserBytes)
	case len(params) > MaxParams:
		return fmt.Errorf("%w: %d parameters, the limit is %d", ErrTooLarge, len(params), MaxParams)
	case n > MaxParamBytes:
		return fmt.Errorf("%w: parameters of %d bytes, the limit is %d", ErrTooLarge, n, MaxParamBytes)
	case len(place.Node) > MaxNodeBytes:
		return fmt.Errorf("%w: a node of %d bytes, the limit is %d", ErrTooLarge, len(place.Node), MaxNodeBytes)
	}
	return nil
}

func validateValues(count, bytes int) error {
	if count > MaxValues || bytes > MaxValueBytes {
		return fmt.Errorf("%w: %d values of %d bytes, the limits are %d and %d",
			ErrTooLarge, count, bytes, MaxValues, MaxValueBytes)
	}
	return nil
}

// size returns the number of bytes of all keys and values.
func size[V string | []byte](values map[string]V) (n int) {
	for k, v := range values {
		n += len(k) + len(v)
	}
	return n
}
