package forwarded

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Trust is a set of peers that are proxies. The zero Trust is empty. It does not change after ParseTrust.
type Trust struct {
	prefixes []netip.Prefix
	unix     bool
}

// unixPeers is the entry for all peers of Unix sockets.
const unixPeers = "unix"

// maxPrefixes is the maximum number of entries: every connection is compared with each.
const maxPrefixes = 1024

// ParseTrust parses a list of networks (10.0.0.0/8), addresses and the word unix, for the peers of Unix sockets.
func ParseTrust(list []string) (Trust, error) {
	var t Trust
	if len(list) > maxPrefixes {
		return t, fmt.Errorf("%d entries: want at most %d", len(list), maxPrefixes)
	}
	for _, entry := range list {
		s := strings.TrimSpace(entry)
		if s == unixPeers {
			t.unix = true
			continue
		}
		p, err := parsePrefix(s)
		if err != nil {
			return Trust{}, fmt.Errorf("%q: %w", entry, err)
		}
		t.prefixes = append(t.prefixes, p)
	}
	return t, nil
}

// CheckEntry returns an error if an entry is not valid for ParseTrust.
func CheckEntry(entry string) error {
	s := strings.TrimSpace(entry)
	if s == unixPeers {
		return nil
	}
	_, err := parsePrefix(s)
	return err
}

// parsePrefix parses a network or an address.
func parsePrefix(s string) (netip.Prefix, error) {
	var p netip.Prefix
	addr, err := netip.ParseAddr(s)
	if err == nil && addr.Zone() == "" {
		p = netip.PrefixFrom(addr, addr.BitLen())
	} else if p, err = netip.ParsePrefix(s); err != nil {
		return p, errors.New("want a network like 10.0.0.0/8, an address, or unix")
	}
	switch {
	case p.Addr().Is4In6():
		return p, fmt.Errorf("want the IPv4 form of the address, %s", p.Addr().Unmap())
	case p.Bits() == 0:
		return p, errors.New("this trusts every client: list the networks of your proxies")
	case p != p.Masked():
		return p, fmt.Errorf("the address has bits outside the network: want %s", p.Masked())
	}
	return p, nil
}

// Empty reports whether t trusts nobody.
func (t *Trust) Empty() bool { return len(t.prefixes) == 0 && !t.unix }

// Trusts reports whether a peer is a proxy. The zero address is that of every peer of a Unix socket.
func (t *Trust) Trusts(peer netip.Addr) bool {
	if !peer.IsValid() {
		return t.unix
	}
	if len(t.prefixes) == 0 {
		return false
	}
	peer = peer.Unmap().WithZone("")
	for _, p := range t.prefixes {
		if p.Contains(peer) {
			return true
		}
	}
	return false
}
