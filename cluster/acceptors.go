package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
)

// acceptors are the listening sockets for Config.Listen. With RoundRobin and LeastConnections there is one. With None
// each slot has its own, from which its worker accepts; the primary accepts from it while the slot has no worker that
// does. On the loop only, once that runs; addr does not change.
type acceptors struct {
	perSlot bool // with None
	disp    *dispatcher
	addr    net.Addr // nil without Config.Listen
	list    []*acceptor
}

// listen opens the listening sockets for n slots, with all acceptors off.
func (a *acceptors) listen(ctx context.Context, address string, n int) error {
	if !a.perSlot {
		ln, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
		return a.start([]*net.TCPListener{ln.(*net.TCPListener)})
	}
	// SO_REUSEPORT would hide that another program of the same user has the port: open it without that option first.
	probe, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	address = probe.Addr().String()
	if err := probe.Close(); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	var opened []*net.TCPListener
	for range n {
		ln, err := listenReusePort(ctx, address)
		if err != nil {
			closeListeners(opened)
			return fmt.Errorf("cluster: %w", err)
		}
		opened = append(opened, ln)
	}
	return a.start(opened)
}

// inherit takes over the listening sockets that the previous program has left.
func (a *acceptors) inherit(fds []int) error {
	var opened []*net.TCPListener
	for _, fd := range fds {
		ln, ok := makeHandle(handleTCPListener, fd).(*net.TCPListener)
		if !ok {
			closeListeners(opened)
			return fmt.Errorf("%w: listening socket", errInheritance)
		}
		opened = append(opened, ln)
	}
	return a.start(opened)
}

// start makes an acceptor for each listening socket. If that fails, it closes all of them.
func (a *acceptors) start(opened []*net.TCPListener) error {
	var list []*acceptor
	for _, ln := range opened {
		one, err := newAcceptor(ln, a.disp)
		if err != nil {
			for _, one := range list {
				one.close()
			}
			closeListeners(opened) // some of them a second time
			return err
		}
		list = append(list, one)
	}
	for _, one := range list {
		go one.run() // ends with close
	}
	a.list = list
	if len(list) > 0 {
		a.addr = opened[0].Addr()
	}
	return nil
}

// add opens the listening socket of a new slot, if slots have their own and it has none yet.
func (a *acceptors) add(slot int) error {
	if !a.perSlot || len(a.list) == 0 || slot <= len(a.list) {
		return nil
	}
	ln, err := listenReusePort(context.Background(), a.addr.String())
	if err != nil {
		return err
	}
	one, err := newAcceptor(ln, a.disp)
	if err != nil {
		_ = ln.Close()
		return err
	}
	a.list = append(a.list, one)
	go one.run() // ends with close
	return nil
}

// listener returns the listening socket of a slot; nil if slots do not have their own.
func (a *acceptors) listener(slot int) *net.TCPListener {
	if !a.perSlot || slot > len(a.list) {
		return nil
	}
	return a.list[slot-1].ln
}

// setSlot turns the acceptor of a slot on or off. It does nothing if slots do not have their own.
func (a *acceptors) setSlot(slot int, on bool) {
	if a.perSlot && slot <= len(a.list) {
		a.list[slot-1].set(on)
	}
}

// setShared turns the acceptor that is not of one slot on. It does nothing if slots have their own.
func (a *acceptors) setShared() {
	if !a.perSlot && len(a.list) > 0 {
		a.list[0].set(true)
	}
}

// close closes the listening sockets. Clients are refused from then on.
func (a *acceptors) close() {
	for _, one := range a.list {
		one.close()
	}
}

// clone returns the acceptors as a list of its own.
func (a *acceptors) clone() []*acceptor { return slices.Clone(a.list) }

// listenReusePort opens a listening socket on a port that other sockets may share.
func listenReusePort(ctx context.Context, address string) (*net.TCPListener, error) {
	lc := net.ListenConfig{Control: reusePort}
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%w: %T", ErrHandle, ln), ln.Close())
	}
	return tcp, nil
}

func closeListeners(list []*net.TCPListener) {
	for _, ln := range list {
		_ = ln.Close()
	}
}
