package backplane

import (
	"context"
	"time"
)

// Limits of a Machine.
const (
	// MaxName is the longest name of a machine, in bytes.
	MaxName = 64
	// MaxAbout is the longest Machine.About, in bytes.
	MaxAbout = 8 << 10
)

// Directory is a Backplane that knows which machines use it. It is optional: without one, machines that do not answer
// cannot be named. Its methods are safe for concurrent use, may block until ctx ends, and fail before Start, after
// Close, and while no server can be reached.
type Directory interface {
	// Announce makes a machine known to all others for the time of lease, from now on, or changes what is known of it. It
	// returns how many machines are known, this one included, and ErrTooLarge beyond MaxName or MaxAbout. Machines whose
	// lease ends disappear by themselves.
	Announce(ctx context.Context, m Machine, lease time.Duration) (known int, err error)
	// Withdraw ends Announce at once. A machine that is not known is no error.
	Withdraw(ctx context.Context, name string) error
	// Machines returns the machines that are known, in the order of their names.
	Machines(ctx context.Context) ([]Machine, error)
}

// Machine is a machine in a Directory.
type Machine struct {
	// Name tells it from all others: 1 to MaxName bytes.
	Name string
	// About is what it says of itself: any bytes, up to MaxAbout.
	About []byte
}

// Check returns ErrTooLarge if m exceeds a limit, or has no name.
func (m Machine) Check() error {
	if m.Name == "" || len(m.Name) > MaxName || len(m.About) > MaxAbout {
		return ErrTooLarge
	}
	return nil
}
