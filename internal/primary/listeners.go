package primary

import (
	"fmt"
	"net"
	"os"

	"github.com/expedite-go/expedite/internal/control"
)

// listeners are the sockets that operators connect to.
type listeners struct {
	control *control.Server // nil without a control socket
	admin   net.Listener    // nil without an admin listener
}

// openListeners opens the sockets that cfg names, or takes them over. A new process fails if it cannot have them. One
// that has taken over from another program serves its clients without them, and logs the error.
func openListeners(cfg *ControlConfig, before *inheritance) (*listeners, error) {
	l := new(listeners)
	var err error
	if cfg.Admin != "" {
		l.admin, err = before.adminListener(cfg.Admin)
		if err != nil && before == nil {
			return nil, fmt.Errorf("expedite: Config.Admin: %w", err)
		}
		if err != nil {
			cfg.logger().Error("no admin listener", "error", err)
		}
	}
	if cfg.Socket != "" {
		l.control, err = before.controlServer(cfg.Socket)
		if err != nil && before == nil {
			if l.admin != nil {
				_ = l.admin.Close()
			}
			return nil, fmt.Errorf("expedite: Config.Control: %w", err)
		}
		if err != nil {
			cfg.logger().Error("no control socket", "error", err)
		}
	}
	return l, nil
}

// adminListener returns the admin listener of the program before if it has the address, else a new one.
func (i *inheritance) adminListener(addr string) (net.Listener, error) {
	if f := i.file(fileAdmin); f != nil {
		defer f.Close()
		if i.Admin == addr {
			return net.FileListener(f)
		}
	}
	return net.Listen("tcp", addr)
}

// controlServer returns the control socket of the program before if it is at the path, else a new one.
func (i *inheritance) controlServer(path string) (*control.Server, error) {
	if f := i.file(fileControl); f != nil {
		defer f.Close()
		if i.Control == path {
			return control.Inherit(path, f)
		}
	}
	return control.Listen(path)
}

// restore creates the file of the control socket again if it was removed.
func (l *listeners) restore() error {
	if l.control == nil {
		return nil
	}
	return l.control.Restore()
}

// files returns copies of the sockets by their names in an inheritance. The caller closes them.
func (l *listeners) files() (map[string]*os.File, error) {
	files := make(map[string]*os.File)
	if l.control != nil {
		f, err := l.control.File()
		if err != nil {
			return nil, err
		}
		files[fileControl] = f
	}
	if tcp, ok := l.admin.(*net.TCPListener); ok {
		f, err := tcp.File()
		if err != nil {
			closeFiles(files)
			return nil, err
		}
		files[fileAdmin] = f
	}
	return files, nil
}
