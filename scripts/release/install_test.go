package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

var install = flag.Bool("install", false, "install the release through a module proxy, which takes a minute")

// modulePath is the path of this module.
const modulePath = "github.com/expedite-go/expedite"

// publish writes the module of a checkout into the folder of a proxy, as proxies serve it, and returns its version.
func publish(t *testing.T, checkout, proxy string) (version string) {
	t.Helper()
	top, err := readChangelog(checkout)
	if err != nil {
		t.Fatal(err)
	}
	version = "v" + top.version
	var archive bytes.Buffer
	if err := modzip.CreateFromDir(&archive, module.Version{Path: modulePath, Version: version}, checkout); err != nil {
		t.Fatalf("nobody could get the module: %v", err)
	}
	info, err := json.Marshal(map[string]any{"Version": version, "Time": time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(checkout, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(proxy, modulePath, "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"list": []byte(version + "\n"), version + ".info": info, version + ".mod": mod, version + ".zip": archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return version
}

// TestModule checks that a module can be made of the checkout: a proxy refuses it, for instance, because of the name of a
// file, and Go refuses to install a program whose go.mod replaces modules.
func TestModule(t *testing.T) {
	dir, proxy := clone(t), t.TempDir()
	version := publish(t, dir, proxy)
	info, err := os.Stat(filepath.Join(proxy, modulePath, "@v", version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(8 << 20); info.Size() > most {
		t.Errorf("the module has %d bytes, which everybody downloads who imports it; want at most %d", info.Size(), most)
	}
	if mod, err := os.ReadFile(filepath.Join(dir, "go.mod")); err != nil || bytes.Contains(mod, []byte("\nreplace ")) {
		t.Errorf("go.mod replaces modules: %v, %s", err, mod)
	}
}

// goProgram matches the first program in a page.
var goProgram = regexp.MustCompile("(?s)```go\n(package main\n.*?)```")

// TestInstall checks that the release can be installed and imported as README says, through a proxy that has nothing but
// the module of this checkout. Other modules come from the cache of modules of this machine.
func TestInstall(t *testing.T) {
	if !*install {
		t.Skip("without -install: make installation")
	}
	checkout, proxy, home := clone(t), t.TempDir(), t.TempDir()
	git(t, checkout, "tag", "-a", "v0.1.0", "-m", "v0.1.0")
	version := publish(t, checkout, proxy)
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	downloads := filepath.Join(strings.TrimSpace(string(cache)), "cache", "download")
	environment := append(os.Environ(), "GOPROXY=file://"+proxy+",file://"+downloads,
		"GONOSUMDB=*", // the database of checksums is elsewhere, and does not know the release yet
		"GOFLAGS=-trimpath -modcacherw", "GOMODCACHE="+filepath.Join(home, "modules"), "GOBIN="+filepath.Join(home, "bin"), "GOWORK=off")
	run := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = dir, environment
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v: %s", name, args, err, out)
		}
		return string(out)
	}
	run(home, "go", "install", modulePath+"/cmd/expedite@latest")
	if got, want := run(home, filepath.Join(home, "bin", "expedite"), "version"), "expedite "+version+" (go"; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	readme, err := os.ReadFile(filepath.Join(checkout, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program := goProgram.FindSubmatch(readme)
	if program == nil {
		t.Fatal("README.md has no program")
	}
	chat := filepath.Join(home, "chat")
	if err := errors.Join(os.Mkdir(chat, 0o755), os.WriteFile(filepath.Join(chat, "main.go"), program[1], 0o600)); err != nil {
		t.Fatal(err)
	}
	run(chat, "go", "mod", "init", "example.com/chat")
	run(chat, "go", "get", modulePath+"/command@latest")
	run(chat, "go", "build", "-o", "chat", ".")
	if got := run(chat, "./chat", "version"); !strings.HasPrefix(got, "chat devel (expedite "+version+", go") {
		t.Errorf("got %s, want expedite %s in it", got, version)
	}
	if got := run(chat, "./chat", "config", "check"); !strings.HasPrefix(got, "the configuration is valid") {
		t.Errorf("got %s", got)
	}
}
