package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// goldenStates are the files and folders that hold states, inheritances and messages of processes as releases have written
// them.
const goldenStates = `
	../../cluster/testdata/inheritance-v1.json
	../../internal/engine/testdata/states
	../../internal/identity/testdata/v1.hex
	../../internal/remotestore/testdata/wire-v1.txt
	../../session/memstore/testdata/state-v1.bin
	../../ws/testdata/state-v1`

// git returns the output of a command of git, or an error.
func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	return strings.TrimSpace(string(out)), err
}

// previousRelease returns the tag of the latest release before the commit of this checkout, or why there is none.
func previousRelease() (tag, why string) {
	head, err := git("rev-parse", "HEAD")
	if err != nil {
		return "", "this is no checkout"
	}
	for _, from := range []string{"HEAD", "HEAD^"} {
		tag, err := git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", from)
		if err != nil {
			break
		}
		if at, err := git("rev-list", "-n", "1", tag); err == nil && at != head {
			return tag, ""
		}
	}
	return "", "there is no tag v* before this commit, so that no release has written anything; TestGoldenStates and the tests " +
		"of the packages check what is to stay readable"
}

// programOf builds expedite as it was at a tag.
func programOf(t *testing.T, tag string) []byte {
	t.Helper()
	dir := t.TempDir()
	archive := exec.Command("git", "archive", "--format=tar", tag)
	archive.Dir = "../.."
	files, err := archive.Output()
	if err != nil {
		t.Fatal(err)
	}
	tar := exec.Command("tar", "-x", "-C", dir)
	tar.Stdin = bytes.NewReader(files)
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	path := filepath.Join(t.TempDir(), "expedite")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "./cmd/expedite")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", tag, err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestPreviousRelease checks that a server of the previous release is replaced by this program: its connections move, in the
// middle of a frame, too; sessions, histories and revocations stay.
func TestPreviousRelease(t *testing.T) {
	t.Parallel()
	tag, why := previousRelease()
	if tag == "" {
		t.Skip(why)
	}
	r := newReleases(t)
	r.addFile("1", programOf(t, tag))
	second := r.add("2")
	r.current("1")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serveAs(t, func(cmd *exec.Cmd) {
		cmd.Path = filepath.Join(r.dir, "current", "expedite")
		cmd.Args[0] = cmd.Path
	}, "--workers", "2", "--auth-secret-file", secret, "--auth", "optional", "--history", "lobby=100/1h", "--state-dir", t.TempDir())
	half := masked(0x81, "begun before, finished after")
	raw := s.raw(t, handshake("/echo")+half[:len(half)/2])
	alice := s.mustDial(ctx, "/?access_token="+tokenFor(t, "alice", "a1", time.Hour, nil))
	bob := s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "b1", time.Hour, nil))
	alice.wantTalk(ctx, t, "before")
	s.roll("revoke", "--user", "mallory")
	left := bob.hello.Session.String()
	if err := bob.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}

	r.current("2")
	s.roll("reload", "--canary", "0s")
	s.wantProgram(second, 2)
	alice.wantTalk(ctx, t, "after")
	if _, err := io.WriteString(raw, half[len(half)/2:]); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4096)
	for n := 0; !strings.Contains(string(got[:n]), "begun before, finished after"); {
		more, err := raw.Read(got[n:])
		if n += more; err != nil {
			t.Fatalf("the echo of a frame in two parts: got %q, %v", got[:n], err)
		}
	}
	back := s.mustDial(ctx, "/?access_token="+tokenFor(t, "bob", "b2", time.Hour, nil)+"&session="+left)
	if !back.hello.Resumed {
		t.Error("a session of the previous release is not known")
	}
	if _, b, err := back.Read(ctx); err != nil || string(b) != "after" {
		t.Errorf("a returning client got %q, %v; want what it has missed", b, err)
	}
	if c, err := s.dial(ctx, "/?access_token="+tokenFor(t, "mallory", "m1", time.Hour, nil)); err == nil {
		t.Error("a client that the previous release has revoked is admitted")
		_ = c.CloseNow()
	}
}

// TestGoldenStates checks that what earlier releases have written is still what the tests of the packages read: the files
// are there, and as they were in the previous release, if there is one.
func TestGoldenStates(t *testing.T) {
	files := strings.Fields(goldenStates)
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v; want what a release has written", name, err)
		}
	}
	tag, why := previousRelease()
	if tag == "" {
		t.Log(why)
		return
	}
	changed, err := git(append([]string{"diff", "--name-status", "--diff-filter=MDR", tag, "--"}, files...)...)
	if err != nil || changed != "" {
		t.Errorf("since %s: %v\n%s\nwrite a file for the new version beside it, and read both", tag, err, changed)
	}
}
