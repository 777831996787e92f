package expedite

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/control"
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
	Node    string                      `json:"node,omitempty"`
	Denials []auth.Denial               `json:"denials,omitempty"`
	// Current says that the revocations of other machines are known.
	Current bool `json:"current,omitempty"`
	// Keys is an auth.Snapshot.
	Keys []byte `json:"keys,omitempty"`
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
	fileSessions = "sessions" // of session.Memory.WriteState
	fileDenials  = "denials"  // of auth.AppendDenial, one behind the other
)

// maxEstateDenials bounds the values of the denials in the estate itself, in bytes. Programs before this one find them
// there only; more of them would take too much memory there.
const maxEstateDenials = 8 << 20

// state writes the estate, and the sessions and denials into files of their own: they may be many.
func (p *primary) state(sessions, denials *os.File) ([]byte, error) {
	list := p.reg.deny.All(time.Now())
	if err := errors.Join(p.reg.write(sessions), writeDenials(denials, list)); err != nil {
		return nil, err
	}
	size := 0
	for _, d := range list {
		size += len(d.Value)
	}
	if size > maxEstateDenials {
		list = nil
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
		Control: p.app.cfg.Control, Admin: p.app.cfg.Admin, Node: p.reg.node, Denials: list,
		Current: p.reg.condition().Current, StateDir: p.reg.stateDir(), Keys: p.reg.swapKeys(nil),
	}
	return json.Marshal(e)
}

// writeDenials writes denials into f, from its beginning.
func writeDenials(f *os.File, list []auth.Denial) error {
	w, err := rewrite(f)
	if err != nil {
		return err
	}
	var b []byte
	for _, d := range list {
		b = auth.AppendDenial(b[:0], d)
		if _, err := w.Write(b); err != nil {
			return fmt.Errorf("expedite: %w", err)
		}
	}
	return w.Flush()
}

// rewrite is a writer that begins at the beginning of f.
func rewrite(f *os.File) (*bufio.Writer, error) {
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	return bufio.NewWriterSize(f, stateBuffer), nil
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
	if d.registry.file != nil {
		f, err := d.registry.file.dir.File()
		if err != nil {
			closeFiles(files)
			return nil, err
		}
		files[fileState] = f
	}
	return files, nil
}

// stateDir is the folder that is in use, or empty.
func (r *registry) stateDir() string {
	if r.file == nil {
		return ""
	}
	return r.file.dir.Path
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
	return e, p.reg.inherit(e, left.File(fileSessions), left.File(fileDenials))
}

// write writes the sessions of the memory store into f, from its beginning.
func (r *registry) write(f *os.File) error {
	w, err := rewrite(f)
	if err != nil {
		return err
	}
	if err := r.memory.WriteState(w); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return w.Flush()
}

const stateBuffer = 1 << 20

// inherit goes on with the name, the revocations and the sessions of the program before. One that knew nothing of them
// has left none, and no file.
func (r *registry) inherit(e *estate, sessions, denials *os.File) error {
	if e.Node != "" {
		r.node = e.Node
	}
	_ = r.swapKeys(e.Keys)
	if e.Current { // else workers would take nobody in until the feed is read again
		r.health.Current = true
	}
	list := e.Denials
	if denials != nil {
		defer denials.Close()
		more, err := readDenials(denials)
		if err != nil {
			return err
		}
		list = append(list, more...)
	}
	if r.deny.Max > 0 || len(list) > auth.DefaultMaxDenials {
		r.deny.Max = max(r.deny.Max, len(list)) // they are in force, whatever this program's limit is
	}
	for _, d := range list {
		if err := r.deny.Add(d, time.Now()); err != nil {
			return fmt.Errorf("expedite: %w", err)
		}
	}
	if sessions == nil {
		return nil
	}
	defer sessions.Close()
	if _, err := sessions.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	if err := r.memory.ReadState(bufio.NewReaderSize(sessions, stateBuffer)); err != nil {
		return fmt.Errorf("expedite: sessions of the program before: %w", err)
	}
	return nil
}

// readDenials reads what writeDenials has written.
func readDenials(f *os.File) ([]auth.Denial, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	list, err := parseDenials(b)
	if err != nil {
		return nil, fmt.Errorf("expedite: revocations of the program before: %w", err)
	}
	return list, nil
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
	if err == nil || left == nil || left.Check {
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
	d := a.desk.Load()
	if d == nil {
		return ErrNotRunning
	}
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
