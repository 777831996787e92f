package command

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/internal/statedir"
)

// TestDefaultStateDir checks that the folder is that of systemd, or one in the user's state folder that is named after
// the control socket; that one that is not writable is a warning; and that there is none without a control socket.
func TestDefaultStateDir(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"STATE_DIRECTORY", "XDG_STATE_HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", home)
	var lines bytes.Buffer
	dirOf := func(c expedite.Config) string {
		lines.Reset()
		c.Logger = slog.New(slog.NewTextHandler(&lines, nil))
		return stateDir(&c)
	}
	one, two := dirOf(expedite.Config{Control: "/run/a/x.sock"}), dirOf(expedite.Config{Control: "/run/b/x.sock"})
	if prefix := filepath.Join(home, ".local", "state", "expedite", "x.sock-"); !strings.HasPrefix(one, prefix) || one == two {
		t.Errorf("got %q and %q, want two with %q", one, two, prefix)
	}
	if info, err := os.Stat(one); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info, err)
	}
	if got := dirOf(expedite.Config{}); got != "" || lines.Len() > 0 {
		t.Errorf("without a control socket: got %q, %s", got, &lines)
	}
	if got := dirOf(expedite.Config{StateDir: "off"}); got != "" || lines.Len() > 0 {
		t.Errorf("off: got %q, %s", got, &lines)
	}
	xdg := t.TempDir()
	t.Setenv("XDG_STATE_HOME", xdg)
	if got := dirOf(expedite.Config{Control: "/run/a/x.sock"}); !strings.HasPrefix(got, xdg) {
		t.Errorf("got %q, want it below %q", got, xdg)
	}
	own := filepath.Join(t.TempDir(), "own")
	t.Setenv("STATE_DIRECTORY", own+":"+xdg)
	if got := dirOf(expedite.Config{Control: "/run/a/x.sock"}); got != own {
		t.Errorf("got %q, want %q", got, own)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STATE_DIRECTORY", filepath.Join(file, "x"))
	if got := dirOf(expedite.Config{Control: "/run/a/x.sock"}); got != "" || strings.Count(lines.String(), "\n") != 1 {
		t.Errorf("a folder that cannot be: got %q, %q, want one warning", got, &lines)
	}
}

// TestSameControl checks that a second server with the same control socket is told so, unless the folder in use is one
// that was named, by a setting or by systemd.
func TestSameControl(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	inUse := fmt.Errorf("--state-dir: %w, process 7", statedir.ErrInUse)
	err := sameControl(inUse, &expedite.Config{}, "/run/x.sock")
	for _, want := range []string{"control socket /run/x.sock", "its own --control", "process 7"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	if got := sameControl(inUse, &expedite.Config{StateDir: "/var/x"}, "/run/x.sock"); got != inUse {
		t.Errorf("with a folder that was named: got %q", got)
	}
	if got := sameControl(os.ErrPermission, &expedite.Config{}, "/run/x.sock"); got != os.ErrPermission {
		t.Errorf("another error: got %q", got)
	}
	if got := sameControl(nil, &expedite.Config{}, "/run/x.sock"); got != nil {
		t.Errorf("no error: got %q", got)
	}
	t.Setenv("STATE_DIRECTORY", "/var/lib/x")
	if got := sameControl(inUse, &expedite.Config{}, "/run/x.sock"); got != inUse {
		t.Errorf("with the folder of systemd: got %q", got)
	}
}
