package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
)

// Listener is an address that clients connect to, in addition to Config.Listen.
type Listener struct {
	// Name identifies the listener, also in the next program, which inherits its socket. If it is empty, Address is used.
	Name string
	// Tag is told to the workers with each of its sockets: see Hooks.Tagged. It has any meaning.
	Tag string
	// Network and Address are as for net.Listen. An empty Network means tcp. For port 0, the system chooses a port.
	Network, Address string
	// Open opens the socket, instead of net.Listen. The result must have the method File of *net.TCPListener. With None
	// all workers accept from the same socket then. If it has a method Remove, that is called before the socket closes.
	Open func() (net.Listener, error)
	// Inherit returns a listener for the socket that the previous program has left. Nil is net.FileListener.
	Inherit func(f *os.File) (net.Listener, error)
	// Retired tells that a program that inherits does not serve this address any more. The connections that wait in the
	// socket's queue are accepted, and then it closes.
	Retired bool
}

// TaggedListener is a listening socket of a worker, with the policy None.
type TaggedListener struct {
	net.Listener
	Tag string // of its Listener
}

// listeners returns Config.Listen and Config.Listeners as one list, with their names.
func (c *Config) listeners() (list []Listener, err error) {
	if c.Listen != "" {
		list = append(list, Listener{Address: c.Listen})
	}
	list = append(list, c.Listeners...)
	names := make(map[string]bool)
	for i := range list {
		l := &list[i]
		if l.Name == "" {
			l.Name = l.Address
		}
		if names[l.Name] {
			return nil, fmt.Errorf("two listeners are called %q", l.Name)
		}
		names[l.Name] = true
		if len(l.Tag) > maxTag {
			return nil, fmt.Errorf("the tag of listener %q has %d bytes, the limit is %d", l.Name, len(l.Tag), maxTag)
		}
	}
	return list, nil
}

// maxTag is the longest Listener.Tag in bytes.
const maxTag = 4 << 10

// Addr returns the address of the first listener; nil if there is none.
func (p *Primary) Addr() net.Addr { return p.s.acceptors.first }

// AddrOf returns the address of the listener with a name; nil if there is none.
func (p *Primary) AddrOf(name string) net.Addr { return p.s.acceptors.addrs[name] }

// Stage opens listening sockets for the program that Exec will run, which inherits them if its Config.Listeners has
// their names. Until then clients wait in their queues. All sockets are opened or none. undo closes them.
func (p *Primary) Stage(ctx context.Context, list []Listener) (undo func(), err error) {
	var opened []*endpoint
	s := p.s
	undo = func() {
		s.loop.call(func() {
			for _, e := range opened {
				e.close()
				s.acceptors.remove(e)
			}
		})
	}
	err = ErrStopped // unless the loop runs
	s.loop.call(func() {
		if s.stopping {
			return
		}
		err = nil
		for _, l := range list {
			var e *endpoint
			if e, err = s.acceptors.open(ctx, l, 1); err != nil {
				return
			}
			e.staged = true
			opened = append(opened, e)
		}
	})
	if err != nil {
		undo()
		return nil, err
	}
	return undo, nil
}

// fileOf returns a duplicate of the descriptor of a listening socket.
func fileOf(ln net.Listener) (*os.File, error) {
	l, ok := ln.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, errors.Join(fmt.Errorf("%w: %T", ErrHandle, ln), ln.Close())
	}
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	return f, nil
}
