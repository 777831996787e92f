//go:build !linux

package loadtest

import (
	"errors"
	"net/netip"
)

// canDial says that dialFD does not work here: goroutines connect.
const canDial = false

func dialFD(netip.Addr, netip.AddrPort) (fd int, err error) { return -1, errors.ErrUnsupported }
