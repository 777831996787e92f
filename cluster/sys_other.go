//go:build !linux

package cluster

import (
	"net"
	"syscall"
)

// Supported says whether this platform has worker processes.
const Supported = false

func processAttributes() *syscall.SysProcAttr { return nil }

func reusePort(string, string, syscall.RawConn) error { return ErrUnsupported }

func acceptBatch(*net.TCPListener, int) ([]int, error) { return nil, ErrUnsupported }

func closeFD(int) {}
