package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// buildImage makes TestImage build what deploy/Dockerfile describes.
var buildImage = flag.Bool("image", false, "build the image of deploy/Dockerfile, and run it")

// image is what deploy/Dockerfile describes, in a folder.
type image struct {
	t     *testing.T
	clone string // of this repository
	build string // what is /image in the first stage
	root  string // of the image

	env        []string
	uid, gid   int
	entrypoint []string
	command    []string
	health     []string
	stop       string
	stages     int
}

// TestImage builds what deploy/Dockerfile describes from a clone of this repository, and runs it without Docker: as the
// first process, as its user, with nothing but the files of the image.
func TestImage(t *testing.T) {
	if !*buildImage {
		t.Skip("make deployment runs it: it builds everything once more")
	}
	if out, err := exec.Command("unshare", "--pid", "--fork", "--mount", "true").CombinedOutput(); err != nil {
		t.Skipf("no namespaces can be made here: %v: %s", err, out)
	}
	i := &image{t: t, clone: t.TempDir(), build: t.TempDir(), root: t.TempDir()}
	i.must(exec.Command("git", "clone", "-q", "../..", i.clone))
	i.read()
	program := filepath.Join(i.root, i.entrypoint[0])
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the program has %d MiB", info.Size()>>20)
	s := i.run("--addr", "127.0.0.1:0", "--admin", "off", "--workers", "1")
	if st := s.await("it serves", allReady); st.PID != 1 {
		t.Errorf("it is process %d, want 1", st.PID)
	}
	first := children(t, s.cmd.Process.Pid)[0]
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", first))
	if want := fmt.Sprintf("\nUid:\t%d\t", i.uid); err != nil || !strings.Contains(string(status), want) || i.uid == 0 {
		t.Errorf("it runs as another user than %d: %v", i.uid, err)
	}
	i.wantHealth(true)
	if err := syscall.Kill(first, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has reloaded", func() bool {
		st, err := s.status()
		return err == nil && st.Generation == 2 && allReady(st)
	})
	i.wantHealth(true)
	if i.stop != "SIGTERM" {
		t.Fatalf("the signal that stops it is %s", i.stop)
	}
	if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.waitEnd(); code != 0 {
		t.Errorf("it ended with %d after TERM", code)
	}
	i.wantHealth(false)
}

func (i *image) must(cmd *exec.Cmd) {
	i.t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		i.t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// read carries out the file.
func (i *image) read() {
	text := strings.ReplaceAll(string(readDeploy(i.t, "Dockerfile")), "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case word == "FROM":
			i.stages++
		case i.stages == 1:
			i.prepare(word, rest)
		default:
			i.assemble(word, rest)
		}
	}
	if i.stages != 2 || len(i.entrypoint) == 0 || len(i.command) == 0 || len(i.health) == 0 {
		i.t.Fatalf("this test does not understand the Dockerfile: %+v", i)
	}
}

// prepare carries out a line of the first stage.
func (i *image) prepare(word, rest string) {
	switch word {
	case "RUN":
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(rest, "/image", i.build))
		cmd.Dir = i.clone
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		i.must(cmd)
	case "WORKDIR", "COPY": // the clone is there
	default:
		i.t.Fatalf("Dockerfile: this test does not know %s", word)
	}
}

// assemble carries out a line of the last stage.
func (i *image) assemble(word, rest string) {
	switch word {
	case "COPY":
		i.copy(strings.Fields(rest))
	case "ENV":
		i.env = append(i.env, strings.Fields(rest)...)
	case "USER":
		if _, err := fmt.Sscanf(rest, "%d:%d", &i.uid, &i.gid); err != nil {
			i.t.Fatalf("USER %s: want numbers, which Kubernetes can check: %v", rest, err)
		}
	case "STOPSIGNAL":
		i.stop = rest
	case "ENTRYPOINT":
		i.entrypoint = i.list(rest)
	case "CMD":
		i.command = i.list(rest)
	case "HEALTHCHECK":
		_, command, _ := strings.Cut(rest, "CMD ")
		i.health = i.list(command)
	case "EXPOSE":
	default:
		i.t.Fatalf("Dockerfile: this test does not know %s", word)
	}
}

// list parses a command, which must not need a shell: it would get the signals.
func (i *image) list(text string) (list []string) {
	i.t.Helper()
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) == 0 {
		i.t.Fatalf("Dockerfile: %s: want the exec form: %v", text, err)
	}
	return list
}

// copy carries out COPY --from=build [--chown=U:G] FROM TO.
func (i *image) copy(words []string) {
	from, to := words[len(words)-2], filepath.Join(i.root, words[len(words)-1])
	if inBuild, ok := strings.CutPrefix(from, "/image"); ok {
		from = i.build + inBuild
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		i.t.Fatal(err)
	}
	i.must(exec.Command("cp", "-RT", from, to))
	for _, option := range words[:len(words)-2] {
		if owner, ok := strings.CutPrefix(option, "--chown="); ok {
			i.must(exec.Command("chown", "-R", owner, to))
		} else if option != "--from=build" {
			i.t.Fatalf("Dockerfile: this test does not know %s", option)
		}
	}
}

// run runs the image with more arguments.
func (i *image) run(args ...string) *server {
	t := i.t
	s := &server{t: t, output: &syncBuffer{}, ended: make(chan struct{})}
	for _, kv := range i.env {
		if path, ok := strings.CutPrefix(kv, "EXPEDITE_CONTROL="); ok {
			s.control = filepath.Join(i.root, path)
		}
	}
	null := filepath.Join(i.root, "dev/null") // Docker has it, and /proc
	if err := errors.Join(os.Chmod(i.root, 0o755), os.Mkdir(filepath.Join(i.root, "proc"), 0o755),
		os.Mkdir(filepath.Dir(null), 0o755), os.WriteFile(null, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	const script = `user=$1; shift; mount -t proc proc "$0/proc" && mount --bind /dev/null "$0/dev/null" && exec chroot --userspec="$user" "$0" "$@"`
	all := []string{"unshare", "--pid", "--fork", "--mount", "--kill-child", "sh", "-c", script, i.root, i.user()}
	all = append(append(append(all, i.entrypoint...), i.command...), args...)
	return s.start(func(cmd *exec.Cmd) {
		path, err := exec.LookPath(all[0])
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path, cmd.Args = path, all
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, i.env...)
	}, nil)
}

func (i *image) user() string { return strconv.Itoa(i.uid) + ":" + strconv.Itoa(i.gid) }

// wantHealth runs the check of the image.
func (i *image) wantHealth(healthy bool) {
	i.t.Helper()
	cmd := exec.Command("chroot", append([]string{"--userspec=" + i.user(), i.root}, i.health...)...)
	cmd.Env = i.env
	if out, err := cmd.CombinedOutput(); (err == nil) != healthy {
		i.t.Errorf("health: got %v, want %t: %s", err, healthy, out)
	}
}
