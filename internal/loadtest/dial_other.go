//go:build !linux

package loadtest

import (
	"errors"
	"net/netip"
)

// canDial reports whether dialFD is supported. If it is not, goroutines connect.
const canDial = false

func dialFD(netip.Addr, netip.AddrPort) (fd int, err error) { return -1, errors.ErrUnsupported }
