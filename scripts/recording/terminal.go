//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a real terminal of the system, and the screen that shows what programs write to it.
type terminal struct {
	began          time.Time
	program, shell *os.File // the ends of the programs, and of the one who looks at them

	mu      sync.Mutex
	screen  *screen
	changed chan struct{}
}

// openTerminal opens a terminal. Its clock begins at began.
func openTerminal(began time.Time, columns int) (*terminal, error) {
	shell, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	fd := int(shell.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	program, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	size := &unix.Winsize{Row: 40, Col: uint16(columns)}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size); err != nil {
		return nil, err
	}
	t := &terminal{
		began: began, program: program, shell: shell, screen: newScreen(columns), changed: make(chan struct{}, 1),
	}
	go t.read() // ends when the terminal is closed
	return t, nil
}

func (t *terminal) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.shell.Read(buf)
		if err != nil {
			return
		}
		t.show(buf[:n])
	}
}

func (t *terminal) show(text []byte) {
	t.mu.Lock()
	t.screen.write(time.Since(t.began), text)
	t.mu.Unlock()
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// text returns what the screen shows.
func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen.text()
}

// wait waits until the screen contains text.
func (t *terminal) wait(ctx context.Context, text string) error {
	for !strings.Contains(t.text(), text) {
		select {
		case <-t.changed:
		case <-ctx.Done():
			return fmt.Errorf("%q did not appear: %s", text, t.text())
		}
	}
	return nil
}

// start shows a command line and starts it, in a folder, with a shell.
func (t *terminal) start(ctx context.Context, dir, line string, env ...string) (*exec.Cmd, error) {
	t.show([]byte("$ " + line + "\r\n"))
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.TrimSuffix(line, " &"))
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = t.program, t.program
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that all of its processes can be ended
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd, cmd.Start()
}

// run is start, and waits for the end.
func (t *terminal) run(ctx context.Context, dir, line string, env ...string) error {
	cmd, err := t.start(ctx, dir, line, env...)
	if err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, t.text())
	}
	return nil
}

// close ends the terminal, and returns what it has shown.
func (t *terminal) close() *screen {
	_ = t.program.Close()
	_ = t.shell.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.screen
}
