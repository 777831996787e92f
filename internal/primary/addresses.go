package primary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/listener"
)

// address is what a program on trial tells about an address, so that the running program can open its socket: it may be
// of an earlier release, and not know all options.
type address struct {
	Name string        `json:"name"`
	Tag  string        `json:"tag"`
	Spec listener.Spec `json:"spec"`
}

// openAddresses determines the addresses of this process: those of systemd are known only here.
func (p *Primary) openAddresses() (err error) {
	c := &p.cfg
	keys := func(s listener.Spec) []string { return c.Activation.Names(s) }
	if p.before != nil {
		keys = func(s listener.Spec) (list []string) {
			for _, name := range p.before.cluster.Listeners() {
				if s.Matches(name) {
					list = append(list, name)
				}
			}
			return list
		}
	}
	if p.addresses, err = listener.Expand(c.Listeners, keys); err != nil {
		return fmt.Errorf("expedite: Config.Addr: %w", err)
	}
	return nil
}

// clusterListeners returns the addresses as package cluster opens and inherits them, and those of the program before
// that are to be closed.
func (p *Primary) clusterListeners() (list []cluster.Listener) {
	for _, s := range p.addresses {
		l := clusterListener(s)
		if s.Network == listener.Systemd {
			l.Open = func() (net.Listener, error) { return p.cfg.Activation.Take(s.Key()) }
		}
		list = append(list, l)
	}
	if p.before == nil {
		return list
	}
	for _, name := range p.before.cluster.Listeners() {
		s, err := listener.Parse(name)
		if err != nil || s.Network != listener.Unix || hasName(list, name) {
			continue // a socket without a file of ours
		}
		adopt := func(f *os.File) (net.Listener, error) { return listener.AdoptUnix(s.Address, f) }
		list = append(list, cluster.Listener{Name: name, Retired: true, Inherit: adopt})
	}
	return list
}

// CloseUnused closes the sockets of systemd that no address selects: their clients would wait for ever. a may be
// nil.
func CloseUnused(a *listener.Activation, log *slog.Logger) {
	if a == nil {
		return
	}
	if names := a.CloseUnused(); len(names) > 0 {
		log.Warn("sockets of systemd are not used: add the address systemd:", "names", names)
	}
}

func hasName(list []cluster.Listener, name string) bool {
	return slices.ContainsFunc(list, func(l cluster.Listener) bool { return l.Name == name })
}

// clusterListener returns an address as package cluster opens and inherits it.
func clusterListener(s listener.Spec) cluster.Listener {
	l := cluster.Listener{Name: s.Key(), Tag: s.String(), Network: s.Network, Address: s.Address}
	if s.Network == listener.Unix {
		l.Open = func() (net.Listener, error) { return s.OpenUnix() }
		l.Inherit = func(f *os.File) (net.Listener, error) { return s.InheritUnix(f) }
	}
	return l
}

// bound returns where clients connect to.
func (p *Primary) bound(group *cluster.Primary) (list []control.ListenerStatus) {
	for _, s := range p.addresses {
		if at := group.AddrOf(s.Key()); at != nil {
			list = append(list, Bound(s, at, p.cfg.Serves))
		}
	}
	return list
}

// Bound returns what status shows of an address. all applies if the address has no such option.
func Bound(s listener.Spec, at net.Addr, all Serves) control.ListenerStatus {
	network, text := s.Describe(at)
	return control.ListenerStatus{
		Address: text, Network: network, Proxy: s.ProxyProtocol.Or(all.ProxyProtocol),
		TLS: all.TLS && s.Plain != listener.On && network != listener.Unix,
	}
}

// Texts returns the addresses of listeners as users write them.
func Texts(list []control.ListenerStatus) (texts []string) {
	for _, l := range list {
		texts = append(texts, l.Text())
	}
	return texts
}

// SecureTexts is Texts for those where clients use TLS.
func SecureTexts(list []control.ListenerStatus) (texts []string) {
	for _, l := range list {
		if l.TLS {
			texts = append(texts, l.Text())
		}
	}
	return texts
}

// AddressError names the field of the configuration behind the error of an address, and says what to do.
func AddressError(err error) error {
	op, ok := errors.AsType[*net.OpError](err)
	_, other := errors.AsType[*listener.Error](err)
	if other || ok && op.Op == "listen" {
		return fmt.Errorf("expedite: Config.Addr: %w", listener.Explain(err))
	}
	return fmt.Errorf("expedite: %w", err)
}

// answerAddresses returns the addresses for the answer of a trial.
func answerAddresses(specs []listener.Spec) (list []address) {
	for _, s := range specs {
		list = append(list, address{Name: s.Key(), Tag: s.String(), Spec: s})
	}
	return list
}

// isPlain reports whether there is one TCP address, as in early releases.
func isPlain(specs []listener.Spec) bool {
	return len(specs) == 1 && specs[0].Network != listener.Unix && specs[0].Network != listener.Systemd
}

// stage opens the sockets of the addresses that the next program adds, before anything is replaced. They wait until
// that program runs.
func (r *roller) stage(next []address) error {
	r.unstage()
	group := r.cluster()
	if group == nil {
		return control.ErrUnsupported
	}
	var added []cluster.Listener
	for _, a := range next {
		if group.AddrOf(a.Name) == nil {
			l := clusterListener(a.Spec)
			l.Name, l.Tag = a.Name, a.Tag
			added = append(added, l)
		}
	}
	undo, err := group.Stage(context.Background(), added)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", AddressError(err))
	}
	r.undoStage = undo
	return nil
}

// unstage closes what stage has opened.
func (r *roller) unstage() {
	if r.undoStage != nil {
		r.undoStage()
		r.undoStage = nil
	}
}
