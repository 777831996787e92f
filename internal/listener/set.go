package listener

import (
	"fmt"
	"net"
)

// ParseAll parses the addresses of one server. None may be there twice, in whatever form, or be part of another one.
func ParseAll(list []string) ([]Spec, error) {
	var specs []Spec
	seen := make(map[string]string)
	for _, text := range list {
		s, err := Parse(text)
		if err != nil {
			return nil, err
		}
		if before, ok := seen[s.Key()]; ok {
			return nil, fmt.Errorf("%q: the address is there twice%s", text, also(before, text))
		}
		for i, other := range specs {
			if Overlap(s, other) {
				return nil, fmt.Errorf("%q: the port is in use by %q: name one of them, or another port", text, list[i])
			}
		}
		seen[s.Key()] = text
		specs = append(specs, s)
	}
	if all, ok := seen[systemdPrefix]; ok && len(seen) > 1 {
		for _, s := range specs {
			if s.Network == Systemd && s.Address != "" {
				return nil, fmt.Errorf("%q contains %q: name one of them", all, s.Key())
			}
		}
	}
	return specs, nil
}

// also names the other form of an address that is there twice.
func also(before, text string) string {
	if before == text {
		return ""
	}
	return fmt.Sprintf(", also as %q", before)
}

// Overlap reports whether the system refuses to open the sockets of both addresses: one of them has the port of the
// other, and all of its hosts. Names of hosts are not looked up.
func Overlap(a, b Spec) bool {
	switch {
	case a.Network == Unix && b.Network == Unix:
		return a.Address == b.Address
	case a.isTCP() && b.isTCP():
		portA, portB := a.port(), b.port()
		return portA == portB && portA != 0 && (a.covers(b) || b.covers(a))
	default:
		return false
	}
}

func (s Spec) isTCP() bool { return s.Network == TCP || s.Network == TCP4 || s.Network == TCP6 }

// host returns the host of a TCP address.
func (s Spec) host() string {
	host, _, _ := net.SplitHostPort(s.Address) // Parse has checked it
	return host
}

// port returns the port of a TCP address; 0 lets the system choose one.
func (s Spec) port() int {
	_, name, _ := net.SplitHostPort(s.Address) // Parse has checked it
	port, _ := net.LookupPort("tcp", name)
	return port
}

// Port returns the port of a TCP address; 0 lets the system choose one. It reports false for other addresses.
func (s Spec) Port() (port int, ok bool) {
	if !s.isTCP() {
		return 0, false
	}
	return s.port(), true
}

// covers reports whether a TCP address has all the hosts of other.
func (s Spec) covers(other Spec) bool {
	switch s.host() {
	case "":
		return true
	case "0.0.0.0", "::":
		return s.Network == other.Network
	default:
		return s.host() == other.host()
	}
}

// CheckOwner returns an error if there is no user or no group with the name that the file of a Unix socket is to have.
func (s Spec) CheckOwner() error {
	if _, err := s.access(); err != nil {
		return fmt.Errorf("%q: %w", s, err)
	}
	return nil
}
