package loadtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// ErrRemote is returned for a target that is not on a loopback address if Config.AllowRemote is not set.
var ErrRemote = errors.New("loadtest: the target is not on this machine")

// target is what clients connect to.
type target struct {
	url     string
	tls     bool
	host    string // for the Host field: the name, and the port unless it is the default
	name    string // host of the server, for TLS
	port    uint16
	request string // path and query
	remotes []netip.AddrPort
	locals  []netip.Addr // local addresses to connect from; empty means that the system chooses
}

// parseTarget parses a URL. As in browsers, http and https mean ws and wss.
func parseTarget(raw string) (*target, error) {
	bad := func(why string) (*target, error) {
		return nil, fmt.Errorf("loadtest: URL %q: %s: want one like ws://127.0.0.1:8080/echo", raw, why)
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || !strings.Contains(raw, "://") {
		return bad("malformed")
	}
	t := &target{url: raw, name: u.Hostname(), request: u.RequestURI(), port: 80}
	switch strings.ToLower(u.Scheme) {
	case "ws", "http":
	case "wss", "https":
		t.tls, t.port = true, 443
	default:
		return bad("the scheme is neither ws nor wss")
	}
	switch {
	case t.name == "":
		return bad("no host")
	case u.User != nil:
		return bad("a user and password are not allowed")
	case u.Fragment != "":
		return bad("a fragment is not allowed") // RFC 6455 §3
	}
	t.host = u.Host
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return bad("invalid port")
		}
		t.port = uint16(n)
	}
	return t, nil
}

// resolve determines the remote and local addresses.
func (t *target) resolve(ctx context.Context, c *Config) error {
	addrs, err := expand(c.TargetAddrs)
	if err != nil {
		return err
	}
	if len(addrs) == 0 {
		if addrs, err = lookup(ctx, t.name, c); err != nil {
			return err
		}
	}
	for _, a := range addrs {
		if !a.IsLoopback() && !c.AllowRemote {
			return fmt.Errorf("%w: %s is %s", ErrRemote, t.name, a)
		}
		if !a.IsLoopback() && c.Insecure {
			return errors.New("loadtest: certificates can be left unverified on loopback addresses only")
		}
		t.remotes = append(t.remotes, netip.AddrPortFrom(a, t.port))
	}
	if t.locals, err = expand(c.LocalAddrs); err != nil {
		return err
	}
	if pairs := (c.Connections + perPair - 1) / perPair; len(t.locals) == 0 && pairs > len(addrs) && isLoopback4(addrs) {
		t.locals = loopbacks((pairs + len(addrs) - 1) / len(addrs))
	}
	return nil
}

func isLoopback4(addrs []netip.Addr) bool {
	for _, a := range addrs {
		if !a.Is4() || !a.IsLoopback() {
			return false
		}
	}
	return true
}

// lookup resolves a host name. It prefers IPv4: a server that listens on both is the same behind either.
func lookup(ctx context.Context, name string, c *Config) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return nil, fmt.Errorf("loadtest: %w", err)
	}
	best := list[0].Unmap()
	for _, a := range list {
		if a = a.Unmap(); a.Is4() {
			best = a
			break
		}
	}
	return []netip.Addr{best}, nil
}

// pair returns the local and remote address of connect n. All pairs take turns.
func (t *target) pair(n uint64) (local netip.Addr, remote netip.AddrPort) {
	remote = t.remotes[n%uint64(len(t.remotes))]
	if len(t.locals) > 0 {
		local = t.locals[n/uint64(len(t.remotes))%uint64(len(t.locals))]
	}
	return local, remote
}

// secretParameter matches query parameters whose values must not appear in a report.
var secretParameter = regexp.MustCompile(`(?i)([?&](?:access_token|token|ticket|key|auth_signature|session)=)[^&]*`)

// redacted returns a URL with its secrets replaced by ***.
func redacted(raw string) string { return secretParameter.ReplaceAllString(raw, "${1}***") }
