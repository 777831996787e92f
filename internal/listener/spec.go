// Package listener has the addresses that clients connect to: their syntax, and how their sockets are opened.
//
// An address is host:port, unix:/path, or systemd:NAME for sockets that systemd has opened; http://host:port is one
// without TLS, and https://host:port one that must use it. Options follow a question mark:
// unix:/run/app.sock?mode=0660&group=www-data. All of it is one word, so that a flag, a variable and a line of a file
// can have it.
package listener

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/spelling"
)

// The networks of a Spec.
const (
	TCP     = "tcp"  // IPv6 and IPv4, if the host is empty or [::]
	TCP4    = "tcp4" // IPv4 only
	TCP6    = "tcp6" // IPv6 only
	Unix    = "unix"
	Systemd = "systemd" // sockets that this process got from systemd
)

// Switch is an option that overrides a setting for one address.
type Switch int8

// The values of a Switch.
const (
	Unset Switch = iota
	On
	Off
)

// Or returns whether the option is on: byDefault if it is not set.
func (s Switch) Or(byDefault bool) bool { return s == On || s == Unset && byDefault }

// Spec is an address to listen on, and its options.
type Spec struct {
	// Network is one of the constants of this package.
	Network string
	// Address is host:port, the path of a Unix socket, or the name of the sockets of systemd; empty means all of those.
	Address string

	// Mode, Owner and Group are those of the file of a Unix socket. Owner and Group are names or numbers; empty is that
	// of this process.
	Mode         fs.FileMode
	Owner, Group string

	// ProxyProtocol overrides whether clients begin with a PROXY header.
	ProxyProtocol Switch
	// Trusted tells that the clients are proxies whose word about the address of a client counts.
	Trusted Switch
	// Plain tells that clients use no TLS, even if the server has certificates. Those of Unix sockets never do. Off is an
	// error if there are no certificates.
	Plain Switch
}

// defaultMode is the mode of a Unix socket: only processes of the same user may connect.
const defaultMode = 0o600

// prefixes of addresses that are not TCP.
const (
	unixPrefix    = Unix + ":"
	systemdPrefix = Systemd + ":"

	plainPrefix  = "http://"  // TCP, without TLS
	securePrefix = "https://" // TCP, with TLS
)

// Parse parses an address.
func Parse(text string) (Spec, error) {
	where, options, hasOptions := strings.Cut(text, "?")
	var s Spec
	var err error
	switch {
	case strings.HasPrefix(where, unixPrefix):
		s.Network, s.Mode = Unix, defaultMode
		s.Address, err = parsePath(strings.TrimPrefix(where, unixPrefix))
	case strings.HasPrefix(where, systemdPrefix):
		s.Network, s.Address = Systemd, strings.TrimPrefix(where, systemdPrefix)
	case strings.HasPrefix(where, "ws://"), strings.HasPrefix(where, "wss://"): // URLs of clients
		err = errors.New("write https://host:port for clients of wss://, host:port or http://host:port for those of ws://")
	default:
		where, s.Plain = CutScheme(where)
		s.Network, s.Address, err = parseTCP(where)
	}
	if err == nil && hasOptions {
		err = s.parseOptions(options)
	}
	if err != nil {
		return Spec{}, fmt.Errorf("%q: %w", text, err)
	}
	return s, nil
}

// CutScheme removes http:// or https:// from the beginning of a TCP address, and returns what it tells of TLS.
func CutScheme(text string) (address string, plain Switch) {
	if address, ok := strings.CutPrefix(text, plainPrefix); ok {
		return address, On
	}
	if address, ok := strings.CutPrefix(text, securePrefix); ok {
		return address, Off
	}
	return text, Unset
}

// WithTLS returns a TCP address as one where clients use TLS.
func WithTLS(address string) string { return securePrefix + address }

// parseTCP returns the network of host:port, and the address in one form for all ways to write it.
func parseTCP(text string) (network, address string, err error) {
	host, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return "", "", errors.New("want host:port, like 127.0.0.1:8080 or :8080, or unix:/path, or systemd:NAME")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil && (strings.ContainsAny(host, "/@ ") || strings.Contains(host, ":")):
		return "", "", fmt.Errorf("%q is not the name of a host", host)
	case err != nil: // a name, or empty
		return TCP, net.JoinHostPort(host, port), nil
	case ip == netip.IPv6Unspecified():
		return TCP, net.JoinHostPort("", port), nil // as net.Listen has it
	case ip.Is4():
		network = TCP4
	default:
		network = TCP6
	}
	return network, net.JoinHostPort(ip.String(), port), nil
}

// maxPath is the longest path of a Unix socket in bytes: the kernel has 108, with the zero at the end.
const maxPath = 107

func parsePath(path string) (string, error) {
	switch {
	case strings.HasPrefix(path, "@"):
		return "", errors.New("an abstract name has no file whose mode protects it: name a file, like unix:/run/app.sock")
	case strings.ContainsRune(path, 0):
		return "", errors.New("the path contains a zero byte")
	case !filepath.IsAbs(path):
		return "", errors.New("want an absolute path, like unix:/run/app.sock")
	}
	path = filepath.Clean(path)
	if len(path) > maxPath {
		return "", fmt.Errorf("the path has %d bytes, and that of a Unix socket may have %d", len(path), maxPath)
	}
	return path, nil
}

// option is an option of an address.
type option struct {
	name string
	set  func(s *Spec, value string) error
	of   string // the only network that has it; empty means all
}

// options lists the options of addresses.
var options = [...]option{
	{"group", func(s *Spec, v string) error { return setName(&s.Group, v) }, Unix},
	{"ipv6only", (*Spec).setIPv6Only, TCP},
	{"mode", (*Spec).setMode, Unix},
	{"owner", func(s *Spec, v string) error { return setName(&s.Owner, v) }, Unix},
	{"plain", func(s *Spec, v string) error { return s.Plain.set(v) }, Systemd},
	{"proxy-protocol", func(s *Spec, v string) error { return s.ProxyProtocol.set(v) }, ""},
	{"trusted", func(s *Spec, v string) error { return s.Trusted.set(v) }, ""},
}

func (s *Spec) parseOptions(text string) error {
	seen := make(map[string]bool)
	for _, one := range strings.Split(text, "&") {
		name, value, _ := strings.Cut(one, "=")
		o, err := s.option(name)
		switch {
		case err != nil:
			return err
		case seen[name]:
			return fmt.Errorf("option %s is there twice", name)
		}
		seen[name] = true
		if err := o.set(s, value); err != nil {
			return fmt.Errorf("option %s=%s: %w", name, value, err)
		}
	}
	return nil
}

// option returns the option with a name.
func (s *Spec) option(name string) (option, error) {
	var known []string
	for _, o := range options {
		applies := o.of == "" || o.of == s.Network
		switch {
		case o.name == name && applies:
			return o, nil
		case o.name == name:
			where := map[string]string{Unix: "unix:/path", TCP: "[::]:port", Systemd: "systemd:NAME"}[o.of]
			return option{}, fmt.Errorf("option %s is for %s", name, where)
		case applies:
			known = append(known, o.name)
		}
	}
	return option{}, fmt.Errorf("unknown option %q%s", name, spelling.Suggest(name, known))
}

// set sets a Switch to an option's value. The name of the option alone means on.
func (s *Switch) set(v string) error {
	switch v {
	case "", "on":
		*s = On
	case "off":
		*s = Off
	default:
		return errors.New("want on or off")
	}
	return nil
}

func (s *Spec) setMode(v string) error {
	m, err := strconv.ParseUint(v, 8, 32)
	if err != nil || m > 0o777 {
		return errors.New("want an octal number, like 0660")
	}
	s.Mode = fs.FileMode(m)
	return nil
}

func setName(to *string, v string) error {
	if v == "" {
		return errors.New("want a name or a number")
	}
	*to = v
	return nil
}

func (s *Spec) setIPv6Only(v string) error {
	var only Switch
	if err := only.set(v); err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(s.Address) // parseTCP has checked it
	if host != "" {
		return errors.New("only [::]:port serves both IPv6 and IPv4")
	}
	if only == On {
		s.Network, s.Address = TCP6, net.JoinHostPort("::", port)
	}
	return nil
}

// Key returns the address without its options. It identifies the listener: two addresses of one server have different
// keys, and a listener keeps its socket through reloads as long as there is an address with its key.
func (s Spec) Key() string {
	switch s.Network {
	case Unix:
		return unixPrefix + s.Address
	case Systemd:
		return systemdPrefix + s.Address
	case TCP6:
		if host, _, err := net.SplitHostPort(s.Address); err == nil && host == "::" {
			return s.Address + "?ipv6only"
		}
	}
	return s.Address
}

// Matches reports whether a key, as in a name of a listener, is that of s. Sockets of systemd have their number in it.
func (s Spec) Matches(key string) bool {
	if s.Network != Systemd {
		return s.Key() == key
	}
	name, ok := strings.CutPrefix(key, systemdPrefix)
	if i := strings.LastIndexByte(name, '#'); i >= 0 {
		name = name[:i]
	}
	return ok && (s.Address == "" || s.Address == name)
}

// String returns the address with all options that are not the default. Parse returns s for it.
func (s Spec) String() string {
	text := s.Key()
	if s.isTCP() {
		text = map[Switch]string{On: plainPrefix, Off: securePrefix}[s.Plain] + text
	}
	add := func(name, value string) {
		text += map[bool]string{true: "&", false: "?"}[strings.Contains(text, "?")] + name
		if value != "" {
			text += "=" + value
		}
	}
	if s.Network == Unix && s.Mode != defaultMode {
		add("mode", fmt.Sprintf("%04o", s.Mode))
	}
	if s.Owner != "" {
		add("owner", s.Owner)
	}
	if s.Group != "" {
		add("group", s.Group)
	}
	for _, one := range []struct {
		name string
		s    Switch
	}{{"plain", s.Plain}, {"proxy-protocol", s.ProxyProtocol}, {"trusted", s.Trusted}} {
		switch {
		case one.name == "plain" && s.isTCP(): // is before the address
		case one.s == On:
			add(one.name, "")
		case one.s == Off:
			add(one.name, "off")
		}
	}
	return text
}

// Describe returns the address as a status shows it: where the socket is bound, for TCP.
func (s Spec) Describe(bound net.Addr) (network, address string) {
	if bound != nil && bound.Network() != Unix {
		return cmp.Or(map[string]string{TCP4: TCP4, TCP6: TCP6}[s.Network], TCP), bound.String()
	}
	if s.Network == Unix {
		return Unix, s.Address
	}
	if bound != nil {
		return Unix, bound.String()
	}
	return s.Network, s.Address
}
