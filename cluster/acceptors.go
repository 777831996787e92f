package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"slices"
	"sync/atomic"
)

// acceptors are the listening sockets of Config.Listen and Config.Listeners. On the loop only, once that runs.
type acceptors struct {
	perSlot bool // with None
	disp    *dispatcher
	list    []*endpoint
	busy    map[int]bool // slots whose worker accepts, with None
	began   bool         // sockets that are not of one slot may be accepted from

	retiring atomic.Int32 // endpoints that are being drained

	// These do not change once Start has returned.
	first net.Addr
	addrs map[string]net.Addr // by the name of the listener
}

// endpoint is an address that clients connect to. With RoundRobin and LeastConnections it has one socket. With None
// each slot has its own, from which its worker accepts; the primary accepts from it while the slot has no worker that
// does. Only a socket that this package has not opened itself is shared by all workers with None: the primary accepts
// from it while no worker does.
type endpoint struct {
	Listener
	number  uint16 // identifies it in messages to workers
	perSlot bool
	staged  bool // it is for the next program: nothing accepts
	fresh   bool // this program has opened it, or the one before has staged it: no worker has a copy
	retired bool // the primary accepts what waits, and then it closes
	list    []*acceptor
}

// maxEndpoints is the largest number of listeners.
const maxEndpoints = 256

// open opens the sockets of a listener for n slots, with all acceptors off.
func (a *acceptors) open(ctx context.Context, l Listener, n int) (*endpoint, error) {
	if len(a.list) >= maxEndpoints {
		return nil, fmt.Errorf("cluster: the limit is %d listeners", maxEndpoints)
	}
	e := &endpoint{Listener: l, perSlot: a.perSlot && l.Open == nil}
	opened, err := e.open(ctx, n)
	if err != nil {
		closeListeners(opened)
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := e.start(opened, a.disp, a.free()); err != nil {
		return nil, err
	}
	a.list = append(a.list, e)
	return e, nil
}

// free returns the lowest number that no endpoint has.
func (a *acceptors) free() (n uint16) {
	for slices.ContainsFunc(a.list, func(e *endpoint) bool { return e.number == n }) {
		n++
	}
	return n
}

// open opens the sockets.
func (e *endpoint) open(ctx context.Context, n int) (opened []net.Listener, err error) {
	if e.Open != nil {
		ln, err := e.Open()
		if err != nil {
			return nil, err
		}
		return []net.Listener{ln}, nil
	}
	// SO_REUSEPORT would hide that another program of the same user has the port: open it without that option first.
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, e.network(), e.Address)
	if err != nil || !e.perSlot {
		return []net.Listener{ln}[:btoi(err == nil)], err
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return nil, err
	}
	for range n {
		ln, err := listenReusePort(ctx, e.network(), address)
		if err != nil {
			return opened, err
		}
		opened = append(opened, ln)
	}
	return opened, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (e *endpoint) network() string {
	if e.Network == "" {
		return "tcp"
	}
	return e.Network
}

// start makes an acceptor for each listening socket. If that fails, it closes all of them.
func (e *endpoint) start(opened []net.Listener, d *dispatcher, number uint16) error {
	e.number = number
	for _, ln := range opened {
		one, err := newAcceptor(ln, d, number)
		if err != nil {
			for _, one := range e.list {
				one.close()
			}
			closeListeners(opened) // some of them a second time
			return err
		}
		e.list = append(e.list, one)
	}
	for _, one := range e.list {
		go one.run() // ends with close
	}
	return nil
}

// addr returns the address that clients connect to.
func (e *endpoint) addr() net.Addr { return e.list[0].ln.Addr() }

// growTo opens sockets until there is one for each of n slots, if slots have their own.
func (e *endpoint) growTo(n int, d *dispatcher) error {
	for e.perSlot && len(e.list) < n {
		ln, err := listenReusePort(context.Background(), e.network(), e.addr().String())
		if err != nil {
			return err
		}
		one, err := newAcceptor(ln, d, e.number)
		if err != nil {
			_ = ln.Close()
			return err
		}
		e.list = append(e.list, one)
		go one.run() // ends with close
	}
	return nil
}

// of returns the acceptor from whose socket the worker of a slot accepts; nil if the primary accepts.
func (a *acceptors) of(e *endpoint, slot int) *acceptor {
	switch {
	case !a.perSlot || e.staged || e.retired:
		return nil
	case !e.perSlot:
		return e.list[0]
	case slot > len(e.list):
		return nil
	}
	return e.list[slot-1]
}

// grow opens the listening sockets of a new slot, if slots have their own and it has none yet.
func (a *acceptors) grow(slot int) error {
	for _, e := range a.list {
		if e.staged || e.retired {
			continue
		}
		if err := e.growTo(slot, a.disp); err != nil {
			return err
		}
	}
	return nil
}

// slots returns the number of slots that have sockets of their own.
func (a *acceptors) slots() (n int) {
	for _, e := range a.list {
		if e.perSlot {
			n = max(n, len(e.list))
		}
	}
	return n
}

// sockets returns the listening sockets from which the worker of a slot accepts.
func (a *acceptors) sockets(slot int) (list []taggedSocket) {
	for _, e := range a.list {
		if one := a.of(e, slot); one != nil {
			list = append(list, taggedSocket{one.file, e})
		}
	}
	return list
}

// introduce tells a worker the tags of the endpoints.
func (a *acceptors) introduce(w *Worker) {
	for _, e := range a.list {
		if e.Tag != "" {
			_ = w.link.send(kindTag, append(binary.LittleEndian.AppendUint16(nil, e.number), e.Tag...))
		}
	}
}

// setSlot records whether the primary has to accept for a slot. It does nothing if the primary accepts for all of them.
func (a *acceptors) setSlot(slot int, on bool) {
	if !a.perSlot {
		return
	}
	if a.busy == nil {
		a.busy = make(map[int]bool)
	}
	if delete(a.busy, slot); !on {
		a.busy[slot] = true
	}
	for _, e := range a.list {
		if one := a.of(e, slot); one != nil && e.perSlot {
			one.set(on)
		}
	}
	a.setShared()
}

// begin lets the primary accept from sockets that are not of one slot.
func (a *acceptors) begin() {
	a.began = true
	a.setShared()
}

// setShared turns the acceptors that are not of one slot on or off.
func (a *acceptors) setShared() {
	for _, e := range a.list {
		if !e.perSlot && !e.staged && !e.retired {
			e.list[0].set(a.began && len(a.busy) == 0)
		}
	}
}

// publish records the addresses, once all listeners are open.
func (a *acceptors) publish() {
	a.addrs = make(map[string]net.Addr)
	for _, e := range a.list {
		if e.retired {
			continue
		}
		if a.first == nil {
			a.first = e.addr()
		}
		a.addrs[e.Name] = e.addr()
	}
}

// get returns the endpoint of a name; nil if there is none.
func (a *acceptors) get(name string) *endpoint {
	for _, e := range a.list {
		if e.Name == name && !e.retired {
			return e
		}
	}
	return nil
}

// close closes the listening sockets. Clients are refused from then on.
func (a *acceptors) close() {
	for _, e := range a.list {
		e.close()
	}
}

func (e *endpoint) close() {
	for _, one := range e.list {
		one.close()
	}
}

// remove forgets an endpoint that is closed.
func (a *acceptors) remove(e *endpoint) {
	a.list = slices.DeleteFunc(a.list, func(other *endpoint) bool { return other == e })
}

// all returns the acceptors as a list of its own.
func (a *acceptors) all() (list []*acceptor) {
	for _, e := range a.list {
		list = append(list, e.list...)
	}
	return list
}

// taggedSocket is a listening socket for a worker.
type taggedSocket struct {
	file *os.File
	of   *endpoint
}

// listenReusePort opens a listening socket on a port that other sockets may share.
func listenReusePort(ctx context.Context, network, address string) (net.Listener, error) {
	lc := net.ListenConfig{Control: reusePort}
	return lc.Listen(ctx, network, address)
}

func closeListeners(list []net.Listener) {
	for _, ln := range list {
		_ = ln.Close()
	}
}
