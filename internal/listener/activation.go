package listener

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// Activation are the sockets that systemd has opened for this process: see sd_listen_fds(3).
type Activation struct {
	list []passed
}

// passed is a socket of systemd.
type passed struct {
	name string // as in FileDescriptorName=, which is the name of the socket unit by default
	ln   net.Listener
	used bool
}

// The variables of the protocol.
const (
	listenPID   = "LISTEN_PID"
	listenFDs   = "LISTEN_FDS"
	listenNames = "LISTEN_FDNAMES"
	listenPIDFD = "LISTEN_PIDFDID" // of newer versions
)

// firstFD is the descriptor of the first socket.
const firstFD = 3

// maxPassed is the largest number of sockets.
const maxPassed = 256

// TakeActivation returns the sockets that systemd has passed to this process, if any. The variables that announce them
// are removed from the environment, because they are not for the processes that this one starts, and neither are the
// sockets.
func TakeActivation() (*Activation, error) {
	pid, count, names := os.Getenv(listenPID), os.Getenv(listenFDs), os.Getenv(listenNames)
	var errs []error
	for _, name := range []string{listenPID, listenFDs, listenNames, listenPIDFD} {
		errs = append(errs, os.Unsetenv(name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if pid == "" || count == "" || pid != strconv.Itoa(os.Getpid()) {
		return new(Activation), nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxPassed {
		return nil, fmt.Errorf("%s=%q: want a number up to %d", listenFDs, count, maxPassed)
	}
	return adopt(firstFD, n, names)
}

// adopt makes listeners of the descriptors from first on.
func adopt(first, n int, names string) (*Activation, error) {
	var list []string
	if names != "" {
		list = strings.Split(names, ":")
	}
	a := new(Activation)
	for i := range n {
		p := passed{name: "unknown"} // as in sd_listen_fds_with_names(3)
		if i < len(list) && list[i] != "" {
			p.name = list[i]
		}
		var err error
		if p.ln, err = listenerOf(first + i); err != nil {
			a.CloseUnused()
			for j := i + 1; j < n; j++ {
				closeFD(first + j)
			}
			return nil, fmt.Errorf("socket %q of systemd: %w", p.name, err)
		}
		a.list = append(a.list, p)
	}
	return a, nil
}

// listenerOf makes a listener of a descriptor, which it closes. The listener's own is close-on-exec.
func listenerOf(fd int) (net.Listener, error) {
	closeOnExec(fd)
	f := os.NewFile(uintptr(fd), "systemd")
	if f == nil {
		return nil, os.ErrInvalid
	}
	defer f.Close()
	if err := checkListening(fd); err != nil {
		return nil, err
	}
	return net.FileListener(f)
}

// Names returns the keys of the sockets that an address of systemd selects.
func (a *Activation) Names(s Spec) (keys []string) {
	for i, p := range a.list {
		if key := keyOf(p.name, i); s.Matches(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// keyOf returns the key of the socket at a place.
func keyOf(name string, at int) string { return fmt.Sprintf("%s%s#%d", systemdPrefix, name, at+1) }

// Take returns the socket with a key.
func (a *Activation) Take(key string) (net.Listener, error) {
	for i := range a.list {
		if p := &a.list[i]; keyOf(p.name, i) == key && !p.used {
			p.used = true
			return p.ln, nil
		}
	}
	return nil, fmt.Errorf("%s: no such socket", key)
}

// CloseUnused closes the sockets that were not taken, and returns their names.
func (a *Activation) CloseUnused() (names []string) {
	for i := range a.list {
		if p := &a.list[i]; !p.used {
			p.used = true
			names = append(names, p.name)
			_ = p.ln.Close()
		}
	}
	return names
}

// Expand replaces each address of systemd by those of its sockets, which have the keys that match. What are the keys is
// told by keys: those of an Activation, or those of the program before.
func Expand(specs []Spec, keys func(Spec) []string) (list []Spec, err error) {
	for _, s := range specs {
		if s.Network != Systemd {
			list = append(list, s)
			continue
		}
		found := keys(s)
		if len(found) == 0 {
			return nil, &Error{s.Key(), errors.New("systemd has passed no such socket to this process: " +
				"it does that when it starts the service for its .socket unit, and never later")}
		}
		for _, key := range found {
			one := s
			one.Address = strings.TrimPrefix(key, systemdPrefix)
			list = append(list, one)
		}
	}
	return list, nil
}
