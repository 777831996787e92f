package primary

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/acmeclient"
	"github.com/expedite-go/expedite/internal/history"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/presence"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/systemd"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// Serves tells how connections begin, unless an address has options of its own.
type Serves struct {
	// ProxyProtocol tells that they begin with a PROXY header, and TLS that they use TLS, except at Unix sockets.
	ProxyProtocol, TLS bool
}

// Config configures a Primary. It does not change after Open.
type Config struct {
	ControlConfig

	// Listeners are the addresses that clients connect to.
	Listeners []listener.Spec
	Serves
	// Activation are the sockets of systemd; nil if the program before has them.
	Activation *listener.Activation
	// Workers is the number of worker processes, at least 1.
	Workers    int
	Scheduling cluster.Policy
	// Origins are the origins whose pages may connect. A reload warns of new ones.
	Origins []string
	// Changed are the names of the settings that a program on trial has changed. Live, unless it is nil, is what Apply
	// applies to the running program instead of a replacement, if that is the same build.
	Changed []string
	Live    []byte
	Apply   func(settings []byte) error
	// StateDir is the folder of what survives the process. Empty is none.
	StateDir string
	// HangTimeout is the time without a sign of life after which a worker is killed. 0 or less is none.
	HangTimeout time.Duration
	// MaxWorkerMemory is the resident memory in bytes beyond which a worker is replaced. 0 or less is no limit.
	MaxWorkerMemory int64
	// History tells what topics keep in this process. Without rules that is nothing.
	History history.Config
	// Plane leads to other machines; nil if there are none.
	Plane backplane.Backplane
	// Presence has the rules for topics of which it is of interest who is there. Open sets the rest.
	Presence presence.Config
	// Files are the certificates of TLS that are in files; nil: there is no TLS.
	Files Files
	// Registry configures the registry; Open sets Moving.
	Registry registry.Config
	// Env has the entries (NAME=value) that all processes of this program need in their environment, and WorkerEnv
	// those of its workers.
	Env, WorkerEnv []string
	// WorkerOutput receives what workers write to their standard output and error. Nil is that of this process.
	WorkerOutput io.Writer
	// Inheritance is what the program before this one left; nil if this process is new.
	Inheritance *cluster.Inheritance
}

// Files are certificates in files that may be of no use. The program before this one has left what they contained.
type Files interface {
	// Restore uses that if it is better than the files.
	Restore(kept []byte) error
	// Succeed returns why the files must not replace it, or nil.
	Succeed(kept []byte) error
	// Unusable returns why no file can be used, or nil.
	Unusable() error
}

// Serving describes a Primary whose workers are ready.
type Serving struct {
	// Addresses are those that clients connect to, and Secure those of them where clients use TLS.
	Addresses, Secure []string
	// Admin is the address of the admin listener; empty is none.
	Admin string
	// Workers is the number of workers.
	Workers int
	// Inherited reports that the workers were started by the program before this one.
	Inherited bool
}

// ControlConfig configures a ControlServer.
type ControlConfig struct {
	// Socket is the path of the control socket. Empty is none.
	Socket string
	// Admin is the address of the admin listener; empty is none. AdminHosts are the host names, beside localhost, IP
	// addresses and that of Admin, that requests to it may be for.
	Admin      string
	AdminHosts []string
	// AdminTLS is how clients of the admin listener use TLS; nil: they do not.
	AdminTLS *tls.Config
	// BodyTimeout bounds the time in which the body of a request makes no progress.
	BodyTimeout time.Duration
	// DrainTimeout bounds a graceful stop.
	DrainTimeout time.Duration
	// StopNow is the cause of a context that ends without a drain.
	StopNow error
	// Version is the name of this build, and Auth the mode of authentication: off, optional or required.
	Version, Auth string
	// Backplane is the kind of what leads to other machines: redis or custom.
	Backplane string
	// Histories is what topics keep in this process; nil if no topic keeps anything. Open sets it for a Primary.
	Histories *history.Store
	Journal   *telemetry.Journal
	// Secrets hides the secrets of clients in lists of sessions.
	Secrets *telemetry.Secrets
	// Members knows who is in topics; nil: nobody wants to know.
	Members *presence.Server
	// Systemd is what the service manager has asked this process for. A program that replaces another one has it from
	// that one.
	Systemd systemd.Environment
	// Certificates obtains those of TLS; nil: they are in files.
	Certificates *acmeclient.Client
	// Check blocks while what serves hangs. Open sets it for a Primary.
	Check func()
	// Alone reports that this process serves the connections itself. Its journal is then that of its only worker.
	Alone bool
}

// logger returns the logger of this process.
func (c *ControlConfig) logger() *slog.Logger { return c.Journal.Logger }

// workerEnv returns what workers need in their environment, beside what this process has there.
func (c *Config) workerEnv() []string {
	return append(slices.Clone(c.WorkerEnv), registry.EnvVariable+"=1")
}

// OpenJournal opens the log of a primary. If this process already runs workers for the program before, a log file that
// cannot be opened does not stop it: its lines go to the handler of c instead. left is nil in a new process.
func OpenJournal(c telemetry.JournalConfig, left *cluster.Inheritance) (*telemetry.Journal, error) {
	j, err := telemetry.OpenJournal(c)
	if err == nil || left == nil || left.Trial {
		return j, err
	}
	c.Dir = ""
	j, again := telemetry.OpenJournal(c)
	if again != nil {
		return nil, errors.Join(err, again)
	}
	j.Logger.Error("log file not opened: lines go to the logger", "error", err)
	return j, nil
}
