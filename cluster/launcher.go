package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// outputDelay is how long the output of a dead worker is waited for while another process holds it open.
const outputDelay = 200 * time.Millisecond

// launcher starts worker processes: it holds the settings and the programs that they are started with. It is safe for
// concurrent use.
type launcher struct {
	queueLimit int // of the link to a worker, in bytes
	outlets    outlets

	mu       sync.Mutex
	settings Settings
	programs programs
}

// start starts a worker process. A nil program is the primary's own. The worker gets copies of the listening sockets.
func (l *launcher) start(r role, env []string, of *program, sockets []taggedSocket) (*Worker, error) {
	l.mu.Lock()
	settings := l.settings.clone()
	if of == nil {
		of = l.programs.current
	}
	l.mu.Unlock()
	r.listener = len(sockets) > 0
	ours, theirs, err := fdpass.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := fdpass.NewConn(ours, maxFrame)
	if err != nil {
		return nil, err
	}
	for _, s := range sockets {
		if err := sendListener(conn, s, len(sockets)); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("listening socket: %w", err)
		}
	}
	w := &Worker{slot: r.slot, generation: r.generation, id: r.id, began: time.Now(), program: of}
	w.ready, w.done = make(chan struct{}), make(chan struct{})
	w.stderr = &tail{to: l.outlets.writer(settings.Stderr)}
	cmd := command(settings, of, append(slices.Clone(env), roleEnv+"="+r.String()))
	cmd.ExtraFiles[0] = theirs
	if w.proc, err = startProcess(cmd, l.outlets.writer(settings.Stdout), w.stderr); err != nil {
		_ = conn.Close()
		return nil, err
	}
	w.link = newLink(conn, l.queueLimit)
	return w, nil
}

// command returns the command of a worker process. Its first extra file is to be set to the worker's end of the link.
func command(s Settings, of *program, env []string) *exec.Cmd {
	cmd := exec.Command(s.Exec, s.Args...)
	cmd.Dir = s.Dir
	cmd.Env = slices.DeleteFunc(of.environ(), func(kv string) bool { return strings.HasPrefix(kv, roleEnv+"=") })
	cmd.Env = slices.Concat(cmd.Env, s.Env, of.workerEnv, env)
	cmd.ExtraFiles = []*os.File{nil}
	if of.is(s.Exec) {
		of.setCommand(cmd)
		if cmd.Dir == "" {
			cmd.Dir = of.dir
		}
	}
	cmd.SysProcAttr = processAttributes(s.Credential)
	return cmd
}

// startProcess starts a command whose output is copied to stdout and stderr.
func startProcess(cmd *exec.Cmd, stdout, stderr io.Writer) (*process, error) {
	p := new(process)
	var theirs []*os.File
	defer func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}()
	for _, stream := range []struct {
		of *io.Writer
		to io.Writer
	}{{&cmd.Stdout, stdout}, {&cmd.Stderr, stderr}} {
		f, err := p.outlet(stream.to)
		if err != nil {
			p.drop()
			return nil, err
		}
		theirs = append(theirs, f)
		*stream.of = f
	}
	if err := cmd.Start(); err != nil {
		p.drop()
		return nil, err
	}
	p.os = cmd.Process
	return p, nil
}

// sendListener sends one of count listening sockets before everything else. It waits in the socketpair until the worker
// reads.
func sendListener(conn *fdpass.Conn, s taggedSocket, count int) error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		sendErr = conn.WriteFDs(fdpass.AppendFrame(nil, kindListener, 1, s.payload(count)), []int{int(fd)})
	})
	return errors.Join(err, sendErr)
}

// payload returns the payload of a kindListener frame.
func (s taggedSocket) payload(count int) []byte {
	b := binary.LittleEndian.AppendUint16(nil, uint16(count))
	return append(binary.LittleEndian.AppendUint16(b, s.of.number), s.of.Tag...)
}

// inherit makes a Worker of a process that the previous program has started.
func (l *launcher) inherit(b inheritedWorker) (*Worker, error) {
	settings := l.current()
	w := &Worker{
		slot: b.Slot, generation: b.Generation, id: b.ID, began: b.Began, wanted: b.Wanted, dismissed: b.Dismissed,
		ready: make(chan struct{}), done: make(chan struct{}),
		stderr: &tail{to: l.outlets.writer(settings.Stderr), last: b.Stderr}, proc: new(process),
	}
	w.state.Store(uint32(b.State))
	w.load.Store(b.Load)
	w.total.Store(b.Passed)
	if b.State != StateStarting {
		close(w.ready)
	}
	proc, err := os.FindProcess(b.PID)
	if err != nil {
		return nil, err
	}
	w.proc.os = proc
	for k, fd := range b.Output {
		to := l.outlets.writer(settings.Stdout)
		if k == len(b.Output)-1 { // standard error is the last
			to = w.stderr
		}
		w.proc.output = append(w.proc.output, pass(os.NewFile(uintptr(fd), "output"), to))
	}
	if b.Link < 0 { // the worker had left: give it a link that has ended
		ours, theirs, err := fdpass.Pair()
		if err != nil {
			return nil, err
		}
		_ = theirs.Close()
		b.Link, err = duplicate(ours)
		_ = ours.Close()
		if err != nil {
			return nil, err
		}
	}
	conn, err := fdpass.NewConn(os.NewFile(uintptr(b.Link), "worker"), maxFrame)
	if err != nil {
		return nil, err
	}
	conn.Restore(b.Rest, b.RestFDs)
	w.link = newLink(conn, l.queueLimit)
	return w, nil
}

// setup changes the settings as Primary.Setup does.
func (l *launcher) setup(s Settings) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settings = l.settings.merge(s)
}

// current returns the settings that the next worker is started with.
func (l *launcher) current() Settings {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.settings.clone()
}

// find determines the primary's own program, and takes the settings from cfg.
func (l *launcher) find(cfg Config) error {
	if err := l.programs.find(cfg.Inherit); err != nil {
		return err
	}
	l.settings = cfg.settings(l.programs.current.path)
	return nil
}

// openNext opens the program that is on disk now, which is to replace the primary's own. It returns nil without an
// error if workers run another program, which is started by its path.
func (l *launcher) openNext() (*program, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.programs.current.is(l.settings.Exec) {
		return nil, nil
	}
	return l.programs.next()
}

// adopt makes next the program that later workers are started with, and that Exec runs: all workers have it now.
func (l *launcher) adopt(next *program) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.programs.current.is(l.settings.Exec) {
		l.settings.Exec = next.path
	}
	l.programs.current, l.programs.reloaded = next, true
}

// wasTried reports whether a program was on trial in the Reload that started the workers from it. Its settings were
// resolved then, once for all its processes.
func (l *launcher) wasTried(next *program) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return next == l.programs.current && next.tried
}

// forExec returns the program that Exec runs: the one that the last Reload has started or else the one that is on disk
// now.
func (l *launcher) forExec() (*program, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch path := l.settings.Exec; {
	case !l.programs.current.is(path):
		return &program{path: path}, nil
	case l.programs.reloaded:
		return l.programs.current, nil
	default:
		return l.programs.next()
	}
}

// invocation returns how the primary was started.
func (l *launcher) invocation() *invocation {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := l.programs.invocation
	return &v
}

// closeUnused closes the programs from which nothing will be started any more.
func (l *launcher) closeUnused(slots slotTable) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.programs.closeUnused(slots)
}

// close closes all programs.
func (l *launcher) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.programs.close()
}
