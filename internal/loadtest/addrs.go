package loadtest

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	// maxAddrs limits the length of a list of addresses.
	maxAddrs = 1 << 16
	// perPair is the number of connections between one local and one remote address. With more of them, connect
	// searches long for a free port: 60,000 clients took 58 s of CPU with 20,000 per pair and 6 s with 10,000 (bench
	// --local-addrs, range 1024-65535).
	perPair = 10_000
)

var errAddrs = fmt.Errorf("loadtest: more than %d addresses", maxAddrs)

// ParseAddrs parses a comma-separated list of addresses and ranges, such as 127.0.0.5,127.0.1.0/24. A range means
// all of its addresses except the first (the network) and the last (broadcast); a range of two addresses means
// both.
func ParseAddrs(s string) (list []netip.Prefix, err error) {
	for word := range strings.SplitSeq(s, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		p, err := netip.ParsePrefix(word)
		if err != nil {
			a, err := netip.ParseAddr(word)
			if err != nil {
				return nil, fmt.Errorf("loadtest: address %q: want one like 127.0.0.2, or a range like 127.0.1.0/24", word)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		return nil, errors.New("loadtest: no addresses: want some like 127.0.0.2,127.0.1.0/24")
	}
	_, err = expand(list)
	return list, err
}

// expand returns the addresses in a list of ranges.
func expand(list []netip.Prefix) (all []netip.Addr, err error) {
	for _, p := range list {
		bits := p.Addr().BitLen() - p.Bits()
		if bits > 16 {
			return nil, errAddrs
		}
		n, a := 1<<bits, p.Masked().Addr()
		if bits == 0 {
			a = p.Addr()
		}
		first, last := 0, n
		if bits > 1 {
			first, last = 1, n-1 // the network and its broadcast address
		}
		for i := range last {
			if i >= first {
				all = append(all, a)
			}
			a = a.Next()
		}
		if len(all) > maxAddrs {
			return nil, errAddrs
		}
	}
	return all, nil
}

// loopbacks returns the first n addresses of 127.0.0.0/8 that do not end with 0 or 255.
func loopbacks(n int) (list []netip.Addr) {
	a := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for ; len(list) < min(n, maxAddrs); a = a.Next() {
		if last := a.As4()[3]; last != 0 && last != 255 {
			list = append(list, a)
		}
	}
	return list
}
