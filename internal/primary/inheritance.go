package primary

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/internal/statedir"
	"github.com/expedite-go/expedite/internal/systemd"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// inheritance is what a primary leaves to the program that replaces it, beside what package cluster leaves. It is
// written as JSON; fields may be added.
type inheritance struct {
	Version int                         `json:"version"`
	Began   time.Time                   `json:"began"`
	Hub     []byte                      `json:"hub"`
	Totals  json.RawMessage             `json:"totals"`
	Reports map[uint64]telemetry.Report `json:"reports"`
	Control string                      `json:"control,omitempty"` // path of the socket in fileControl
	Admin   string                      `json:"admin,omitempty"`   // address of the listener in fileAdmin
	registry.State
	// Relay is the state of the relay, and Bridge the worker that listens to other machines meanwhile; 0 is none.
	Relay  []byte `json:"relay,omitempty"`
	Bridge uint64 `json:"bridge,omitempty"`
	// StateDir is the folder whose lock is in fileState.
	StateDir string `json:"state_dir,omitempty"`

	// Settings are those that it was written under; nil from a program that compares none.
	Settings *settings `json:"terms,omitempty"`
	// Systemd is what the service manager has asked this process for.
	Systemd systemd.Environment `json:"systemd,omitzero"`
	// Drain is the drain under way; nil: there has been none.
	Drain *drainPlan `json:"drain,omitempty"`
	// Again reports that another reload was requested during the one that led to this inheritance.
	Again bool `json:"again,omitempty"`

	cluster *cluster.Inheritance
}

const inheritanceVersion = 1

// Names of the files that go along with an inheritance.
const (
	fileControl  = "control"
	fileAdmin    = "admin"
	fileState    = "state"
	fileSessions = "sessions" // in the form of memstore.Store.WriteState
	filePresence = "presence" // in the form of presence.Server.AppendState
	fileDenials  = "denials"  // in the form of denylist.Append, one after the other
	fileHistory  = "history"  // in the form of history.Store.WriteState
)

// readInheritance reads what the program before left; nil if this process is new.
func readInheritance(left *cluster.Inheritance) (*inheritance, error) {
	if left == nil {
		return nil, nil
	}
	i := &inheritance{cluster: left}
	if err := json.Unmarshal(left.State, i); err != nil {
		return nil, fmt.Errorf("expedite: inheritance of the program before: %w", err)
	}
	if i.Version != inheritanceVersion {
		return nil, fmt.Errorf("expedite: inheritance of the program before: version %d, this program reads version %d",
			i.Version, inheritanceVersion)
	}
	return i, nil
}

// file returns a file of the inheritance, which the caller closes; nil if there is none, or the second time.
func (i *inheritance) file(name string) *os.File {
	if i == nil {
		return nil
	}
	return i.cluster.File(name)
}

// isTrial reports whether this process only has to find out whether it could go on with the inheritance.
func (i *inheritance) isTrial() bool { return i != nil && i.cluster.Trial }

// stateLock returns the lock of a state directory if the program before held it, else nil. It closes one of another
// directory.
func (i *inheritance) stateLock(path string) *os.File {
	lock := i.file(fileState)
	if lock != nil && i.StateDir != path {
		_ = lock.Close()
		return nil
	}
	return lock
}

// inheritanceWriter collects what the program that replaces this one gets.
type inheritanceWriter struct {
	cfg       *Config
	addresses []listener.Spec
	began     time.Time
	workers   *supervisor
	registry  *registry.Server
	listeners *listeners
	relay     *relay.Relay // nil without other machines
	presence  *presence.Server
	drainer   *drainer
	bridge    uint64 // the worker that listens while this program is replaced; 0 is none
}

// options returns what cluster.Primary.Exec gives to the next program; again reports whether that has to reload once
// more. The caller closes the files.
func (w *inheritanceWriter) options(again func() bool) (o cluster.ExecOptions, err error) {
	if o.Files, err = w.listeners.files(); err != nil {
		return o, err
	}
	defer func() {
		if err != nil {
			closeFiles(o.Files)
		}
	}()
	_, lock, err := w.registry.StateDir()
	if err != nil {
		return o, err
	}
	if lock != nil {
		o.Files[fileState] = lock
	}
	for _, name := range []string{fileSessions, fileDenials, filePresence} {
		if o.Files[name], err = memoryFile(name); err != nil {
			delete(o.Files, name)
			return o, err
		}
	}
	if err := w.addHistory(o.Files); err != nil {
		return o, err
	}
	sessions, denials := o.Files[fileSessions], o.Files[fileDenials]
	present, kept := o.Files[filePresence], o.Files[fileHistory]
	o.State = func() ([]byte, error) {
		if err := errors.Join(w.savePresence(present), w.saveHistory(kept)); err != nil {
			return nil, err
		}
		return w.state(sessions, denials, again())
	}
	return o, nil
}

// state returns the inheritance, and writes sessions and denials into files of their own: they may be many.
func (w *inheritanceWriter) state(sessions, denials *os.File, again bool) ([]byte, error) {
	shared, err := w.registry.Save(sessions, denials)
	if err != nil {
		return nil, err
	}
	totals, err := json.Marshal(w.workers.totals)
	if err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	now := w.cfg.settings()
	i := inheritance{
		Settings: &now, Again: again, Systemd: w.cfg.Systemd, Drain: w.drainer.leave(),
		Version: inheritanceVersion, Began: w.began, Hub: w.workers.hub.AppendState(nil), Totals: totals,
		Reports: w.workers.reports(), Control: w.cfg.Socket, Admin: w.cfg.Admin, State: shared,
	}
	if w.relay != nil {
		i.Relay, i.Bridge = w.relay.AppendState(nil), w.bridge
	}
	path, lock, err := w.registry.StateDir()
	if err == nil && lock != nil {
		i.StateDir = path
		_ = lock.Close()
	}
	return json.Marshal(i)
}

func closeFiles(files map[string]*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// tryStateDir reports, in a trial, whether a state directory that the running program does not use can be used. It does
// not touch the lock of the one in use.
func (i *inheritance) tryStateDir(path string) error {
	if path == "" || path == i.StateDir {
		return nil
	}
	d, err := statedir.Open(path)
	if err != nil {
		return fmt.Errorf("expedite: Config.StateDir: %w", err)
	}
	return d.Close()
}
