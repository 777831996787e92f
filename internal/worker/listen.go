package worker

import (
	"fmt"
	"net"
	"slices"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/reactor"
)

// accepting is a listening socket that this worker accepts from.
type accepting struct {
	ln net.Listener
	on *reactor.Listener
}

// sourceOf returns the source with a name, which is the text of an address. Its options are those that this program has
// for the address, even if the process that accepted the connection has others: that is so during a reload. An address
// that this program does not have keeps the options of the name. Primaries of early releases have one address, and give
// no name. An option that is not set is that of byDefault.
func sourceOf(specs []listener.Spec, byDefault engine.Source, name string) engine.Source {
	var s listener.Spec
	if name == "" && len(specs) > 0 {
		s = specs[0]
	} else if parsed, err := listener.Parse(name); err == nil {
		s = parsed
	}
	for _, own := range specs {
		if own.Matches(s.Key()) {
			s.ProxyProtocol, s.Trusted, s.Plain = own.ProxyProtocol, own.Trusted, own.Plain
		}
	}
	source := byDefault
	source.Name = name
	source.Proxies.All, source.Proxies.None = s.Trusted == listener.On, s.Trusted == listener.Off
	source.Proxies.Header = s.ProxyProtocol.Or(byDefault.Proxies.Header)
	if s.Plain == listener.On {
		source.Secure = nil
	}
	source.Redirect = byDefault.Redirect && s.Plain == listener.On // Unix sockets are for proxies on this machine
	return source
}

// Listen accepts connections from ln, the socket of the address with a name. Before Start, or on the loop.
func (w *Worker) Listen(ln net.Listener, name string) error {
	on, err := w.engine.Listen(ln, name)
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	w.accepting = append(w.accepting, accepting{ln, on})
	return nil
}

// listenLater accepts from a socket that the primary has added.
func (w *Worker) listenLater(ln *cluster.TaggedListener) {
	w.engine.Post(func() {
		if w.draining.Load() {
			return
		}
		if err := w.Listen(ln.Listener, ln.Tag); err != nil {
			w.log.Error("address not served", "address", ln.Tag, "error", err)
		}
	})
}

// retire accepts what waits in the queue of a socket, and closes it.
func (w *Worker) retire(ln *cluster.TaggedListener) {
	if !w.engine.Post(func() {
		w.accepting = slices.DeleteFunc(w.accepting, func(a accepting) bool {
			if a.ln == ln.Listener {
				a.on.Drain()
				return true
			}
			return false
		})
		_ = ln.Close()
	}) {
		_ = ln.Close()
	}
}

// stopAccept accepts no more connections. On the loop.
func (w *Worker) stopAccept() {
	for _, a := range w.accepting {
		a.on.Stop()
	}
}
