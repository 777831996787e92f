package cluster

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// roleEnv tells a process that it is a worker, and which one.
const roleEnv = "EXPEDITE_WORKER"

// linkFD is where a worker finds its end of the socketpair.
const linkFD = 3

// outputDelay is how long a dead worker's output is waited for when others hold it open.
const outputDelay = 200 * time.Millisecond

// role is what a worker is told at its birth.
type role struct {
	slot, slots, generation int
	id                      uint64
	listener                bool // the slot has a listening socket of its own, which comes first through the socketpair
}

const roleFormat = "slot=%d slots=%d generation=%d id=%d listener=%t"

func (r role) String() string {
	return fmt.Sprintf(roleFormat, r.slot, r.slots, r.generation, r.id, r.listener)
}

func parseRole(s string) (r role, err error) {
	if _, err := fmt.Sscanf(s, roleFormat, &r.slot, &r.slots, &r.generation, &r.id, &r.listener); err != nil {
		return role{}, fmt.Errorf("cluster: %s=%q: %w", roleEnv, s, err)
	}
	if r.String() != s || r.slot < 1 || r.slots < 1 || r.generation < 1 {
		return role{}, fmt.Errorf("cluster: %s=%q is no role", roleEnv, s)
	}
	return r, nil
}

// birth is what a worker process is started with.
type birth struct {
	settings Settings
	program  *program // that the settings name; else they name another one
	env      []string // after that of the settings
	role     role
	listener *net.TCPListener // it is given a copy; nil is none
	queue    int              // limit of the way to it, in bytes
	outlets  *outlets
}

// spawn starts a worker process.
func spawn(b birth) (*Worker, error) {
	r := b.role
	r.listener = b.listener != nil
	ours, theirs, err := fdpass.Pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	conn, err := fdpass.NewConn(ours, maxFrame)
	if err != nil {
		return nil, err
	}
	if r.listener {
		err = passListener(conn, b.listener)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("listening socket: %w", err)
	}
	w := &Worker{slot: r.slot, generation: r.generation, id: r.id, began: time.Now()}
	w.ready, w.done = make(chan struct{}), make(chan struct{})
	w.stderr = &tail{to: b.outlets.writer(b.settings.Stderr)}
	if w.proc, err = execute(b, r, theirs, w.stderr); err != nil {
		_ = conn.Close()
		return nil, err
	}
	w.link = newLink(conn, b.queue)
	return w, nil
}

// execute starts the process.
func execute(b birth, r role, link *os.File, stderr io.Writer) (*process, error) {
	p := new(process)
	var theirs []*os.File
	defer func() { closeFiles(theirs) }()
	cmd := exec.Command(b.settings.Exec, b.settings.Args...)
	cmd.Dir = b.settings.Dir
	cmd.Env = append(slices.DeleteFunc(b.program.environ(), func(kv string) bool {
		return strings.HasPrefix(kv, roleEnv+"=")
	}), b.settings.Env...)
	cmd.Env = append(cmd.Env, b.program.workerEnv...)
	cmd.Env = append(append(cmd.Env, b.env...), roleEnv+"="+r.String())
	cmd.ExtraFiles = []*os.File{link}
	if b.program.is(b.settings.Exec) {
		b.program.setCommand(cmd)
		if cmd.Dir == "" {
			cmd.Dir = b.program.dir
		}
	}
	cmd.SysProcAttr = processAttributes(b.settings.Credential)
	for _, way := range []struct {
		to   *io.Writer
		from io.Writer
	}{{&cmd.Stdout, b.outlets.writer(b.settings.Stdout)}, {&cmd.Stderr, stderr}} {
		f, err := p.outlet(way.from)
		if err != nil {
			p.drop()
			return nil, err
		}
		theirs = append(theirs, f)
		*way.to = f
	}
	if err := cmd.Start(); err != nil {
		p.drop()
		return nil, err
	}
	p.os = cmd.Process
	return p, nil
}

func closeFiles(list []*os.File) {
	for _, f := range list {
		_ = f.Close()
	}
}

// passListener sends a listening socket ahead of everything else: it waits in the socketpair for the worker to come.
func passListener(conn *fdpass.Conn, listener *net.TCPListener) error {
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) {
		sendErr = conn.WriteFDs(fdpass.AppendFrame(nil, kindListener, 1, nil), []int{int(fd)})
	})
	return errors.Join(err, sendErr)
}
