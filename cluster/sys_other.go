//go:build !linux

package cluster

import (
	"os"
	"syscall"
)

// Supported reports whether this platform has worker processes.
const Supported = false

func processAttributes(*Credential) *syscall.SysProcAttr { return nil }

func reusePort(string, string, syscall.RawConn) error { return ErrUnsupported }

func acceptBatch(*os.File, int) ([]int, error) { return nil, ErrUnsupported }

func acceptNow(*os.File, int) ([]int, error) { return nil, ErrUnsupported }

func dupFD(int) (int, error) { return -1, ErrUnsupported }

func closeFD(int) {}

func areSockets([]int) bool { return false }

// rawHandle is used on Linux only.
type rawHandle int

// Close does nothing.
func (rawHandle) Close() error { return nil }

// SyscallConn returns ErrUnsupported.
func (rawHandle) SyscallConn() (syscall.RawConn, error) { return nil, ErrUnsupported }

func sealed([]byte) (*os.File, error) { return nil, ErrUnsupported }

func readSealed(int) ([]byte, error) { return nil, ErrUnsupported }

func closeOnExec(int) {}

func replaceProgram(string, []string, []string, []int) error { return ErrUnsupported }

func allowSignals() {}

func openProgram(string) (*os.File, error) { return nil, nil }

func nameProcess() {}

func writeFD(int, []byte) (int, error) { return 0, ErrUnsupported }

func shutdownWrite(*os.File) {}

func memoryFile(string) (*os.File, error) { return nil, ErrUnsupported }
