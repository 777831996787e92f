package expedite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// estate is what a primary leaves to the program that replaces it, beside what package cluster does. It is written as
// JSON; fields may be added.
type estate struct {
	Version int                         `json:"version"`
	Began   time.Time                   `json:"began"`
	Hub     []byte                      `json:"hub"`
	Totals  json.RawMessage             `json:"totals"`
	Reports map[uint64]telemetry.Report `json:"reports"`
	Control string                      `json:"control,omitempty"` // path of the file of that name
	Admin   string                      `json:"admin,omitempty"`   // address of the file of that name
	registry.State
	// StateDir is the folder whose lock is the file fileState.
	StateDir string `json:"state_dir,omitempty"`

	// Terms are the settings that it was written under; nil in a program that compares none.
	Terms *terms `json:"terms,omitempty"`
	// Again says that another reload was asked for while this one was under way.
	Again bool `json:"again,omitempty"`

	left *cluster.Inheritance
}

const estateVersion = 1

// The names of the files that go along.
const (
	fileControl  = "control"
	fileAdmin    = "admin"
	fileState    = "state"
	fileSessions = "sessions" // of memstore.Store.WriteState
	fileDenials  = "denials"  // of denylist.Append, one behind the other
)

// state writes the estate, and the sessions and denials into files of their own: they may be many.
func (p *primary) state(sessions, denials *os.File) ([]byte, error) {
	shared, err := p.reg.Save(sessions, denials)
	if err != nil {
		return nil, err
	}
	totals, err := json.Marshal(p.desk.totals)
	if err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.app.cfg.terms()
	e := estate{
		Terms: &now, Again: p.desk.again.Load(),
		Version: estateVersion, Began: p.desk.began, Hub: p.hub.AppendState(nil), Totals: totals, Reports: p.reports,
		Control: p.app.cfg.Control, Admin: p.app.cfg.Admin, State: shared,
	}
	path, lock, err := p.reg.StateDir()
	if err == nil && lock != nil {
		e.StateDir = path
		_ = lock.Close()
	}
	return json.Marshal(e)
}

// files are what goes along as it is.
func (d *desk) files() (map[string]*os.File, error) {
	files := make(map[string]*os.File)
	if d.ctl != nil {
		f, err := d.ctl.File()
		if err != nil {
			return nil, err
		}
		files[fileControl] = f
	}
	if tcp, ok := d.admin.(*net.TCPListener); ok {
		f, err := tcp.File()
		if err != nil {
			closeFiles(files)
			return nil, err
		}
		files[fileAdmin] = f
	}
	_, lock, err := d.registry.StateDir()
	if err != nil {
		closeFiles(files)
		return nil, err
	}
	if lock != nil {
		files[fileState] = lock
	}
	return files, nil
}

func closeFiles(files map[string]*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// inherit reads what the program before has left; nil if this process is a new one.
func (p *primary) inherit(left *cluster.Inheritance) (*estate, error) {
	if left == nil {
		return nil, nil
	}
	e := &estate{left: left}
	if err := json.Unmarshal(left.State, e); err != nil {
		return nil, fmt.Errorf("expedite: what the program before has left: %w", err)
	}
	if e.Version != estateVersion {
		return nil, fmt.Errorf("expedite: the program before has left version %d, this knows %d", e.Version, estateVersion)
	}
	if err := p.hub.LoadState(e.Hub); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	if err := new(telemetry.Totals).UnmarshalJSON(e.Totals); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	if e.Reports != nil {
		p.reports = e.Reports
	}
	return e, p.reg.Load(e.State, left.File(fileSessions), left.File(fileDenials))
}

// adminListener is the listener that the program before had, if it is the one that is wanted.
func (e *estate) adminListener(addr string) (net.Listener, error) {
	if e != nil {
		if f := e.left.File(fileAdmin); f != nil {
			defer f.Close()
			if e.Admin == addr {
				return net.FileListener(f)
			}
		}
	}
	return net.Listen("tcp", addr)
}

// controlServer is that of the program before, if it is at the path that is wanted.
func (e *estate) controlServer(path string) (*control.Server, error) {
	if e != nil {
		if f := e.left.File(fileControl); f != nil {
			defer f.Close()
			if e.Control == path {
				return control.Inherit(path, f)
			}
		}
	}
	return control.Listen(path)
}

// tryDoors says, in a trial, whether an address that the program before does not have could be opened.
func (a *App) tryDoors(est *estate) error {
	if a.cfg.Admin != "" && a.cfg.Admin != est.Admin {
		ln, err := net.Listen("tcp", a.cfg.Admin)
		if err != nil {
			return fmt.Errorf("expedite: Config.Admin: %w", err)
		}
		_ = ln.Close()
	}
	return nil
}

// openPrimaryJournal is openJournal of the primary. A program that has taken over from another one must not end for
// want of a log: it served well in its trial, a moment ago.
func (a *App) openPrimaryJournal(left *cluster.Inheritance) error {
	err := a.openJournal(0)
	if err == nil || left == nil || left.Trial {
		return err
	}
	dir := a.cfg.LogDir
	a.cfg.LogDir = ""
	defer func() { a.cfg.LogDir = dir }()
	if errOpen := a.openJournal(0); errOpen != nil {
		return errors.Join(err, errOpen)
	}
	a.Logger().Error("log file not opened: lines go to the logger", "error", err)
	return nil
}

// Reload replaces the workers, and then this process's own program, by the binary that is on disk now, as the command
// expedite reload does: connections move, nobody is dropped. It returns when the workers are replaced; if the primary
// is replaced, too, it does not return. While another reload, or a scale, is under way it returns nil at once, and one
// more reload follows: what was put into place since is not left out. Only where Run is the primary: else
// ErrNotRunning.
func (a *App) Reload(ctx context.Context) error {
	r := a.role.Load()
	if r == nil || r.desk == nil {
		return ErrNotRunning
	}
	d := r.desk
	var err error
	for range 3 { // another one may be quicker
		if d.later() {
			return nil
		}
		_, err = d.Reload(ctx, control.ReloadRequest{CanarySeconds: control.DefaultCanarySeconds}, control.Discard{})
		busy, ok := errors.AsType[*control.Error](err)
		switch {
		case errors.Is(err, control.ErrUnsupported):
			return ErrNotRunning
		case !ok || busy.Code != control.CodeBusy:
			return err
		}
	}
	return err
}

var _ broker.Link = (*cluster.Worker)(nil)
