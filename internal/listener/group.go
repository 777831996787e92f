package listener

import "net"

// Opened is an address whose socket is open.
type Opened struct {
	Spec
	net.Listener
}

// Socket returns the listener of package net, from whose descriptor an event loop may accept.
func (o Opened) Socket() net.Listener {
	if l, ok := o.Listener.(interface{ Socket() net.Listener }); ok {
		return l.Socket()
	}
	return o.Listener
}

// OpenAll opens the sockets of all addresses, for a process that has them alone, or none.
func OpenAll(specs []Spec, a *Activation) (list []Opened, err error) {
	defer func() {
		if err != nil {
			CloseAll(list)
		}
	}()
	if specs, err = Expand(specs, a.Names); err != nil {
		return nil, err
	}
	for _, s := range specs {
		var ln net.Listener
		if s.Network == Systemd {
			ln, err = a.Take(s.Key())
		} else {
			ln, err = s.Open()
		}
		if err != nil {
			return list, err
		}
		list = append(list, Opened{s, ln})
	}
	return list, nil
}

// RemoveFiles removes the files of Unix sockets, so that nobody finds them any more.
func RemoveFiles(list []Opened) {
	for _, o := range list {
		if l, ok := o.Listener.(interface{ Remove() error }); ok {
			_ = l.Remove() // if the file stays, the next server replaces it
		}
	}
}

// CloseAll closes the sockets and removes the files.
func CloseAll(list []Opened) {
	RemoveFiles(list)
	for _, o := range list {
		_ = o.Close()
	}
}
