package scaffold

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// TestFilesAreNamed: all files of a project have its name, and no other file is missing.
func TestFilesAreNamed(t *testing.T) {
	left := regexp.MustCompile(`\bexpedite\b(?:[^./-]|$)`) // not expedite.yaml, expedite-go, expedite/…
	for _, name := range Templates() {
		p := Project{Name: "my-project"}
		files, err := p.files(Options{Template: name, Origin: Origin{Version: "v1.2.3"}})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range []string{
			".github/workflows/test.yml", ".gitignore", "Makefile", "README.md", "deploy/Dockerfile", "deploy/compose.yaml",
			"deploy/my-project.service", "expedite.yaml", "go.mod", "load/artillery.yml", "load/k6.js", "main.go", "main_test.go", "page.html",
		} {
			if files[want] == "" {
				t.Errorf("%s: there is no %s", name, want)
			}
		}
		for path, text := range files {
			if i := regexp.MustCompile(`@[A-Z]+@`).FindString(text); i != "" {
				t.Errorf("%s: %s has %s", name, path, i)
			}
			if !strings.HasPrefix(path, "deploy/") {
				continue
			}
			for line := range strings.Lines(text) {
				if left.MatchString(strings.ReplaceAll(line, "github.com/expedite-go/expedite", "")) {
					t.Errorf("%s: %s has the name of this program: %s", name, path, line)
				}
			}
		}
		for path, want := range map[string]string{
			"deploy/Dockerfile":         "-o /image/my-project .\n",
			"deploy/compose.yaml":       "image: my-project\n",
			"deploy/my-project.service": "ExecStart=/usr/local/bin/my-project serve\n",
			"main.go":                   "// Command my-project ",
			"go.mod":                    "module example.com/my-project\n",
			"Makefile":                  "\tgo build -o my-project .\n",
		} {
			if !strings.Contains(files[path], want) {
				t.Errorf("%s: %s does not contain %q", name, path, want)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	full := filepath.Join(t.TempDir(), "full")
	if err := write(filepath.Join(full, "notes.txt"), "mine"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, dir, template, want string }{
		{"a folder with something in it", full, "chat", "is not empty"},
		{"an unknown template", filepath.Join(t.TempDir(), "x"), "shop", "take chat, notifications, game, blank"},
		{"a name that is none", filepath.Join(t.TempDir(), "my project"), "chat", `"my project"`},
		{"a file", filepath.Join(full, "notes.txt"), "chat", "name of a program"},
	} {
		_, err := New(Options{Dir: tt.dir, Template: tt.template})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
	if b, err := os.ReadFile(filepath.Join(full, "notes.txt")); err != nil || string(b) != "mine" {
		t.Errorf("the file that was there: %q, %v", b, err)
	}
}

func TestPublished(t *testing.T) {
	for _, tt := range []struct {
		name, version string
		main          debug.Module
		want          string
	}{
		{"a release", "v1.2.3", debug.Module{Path: modulePath, Version: "v1.2.3"}, "v1.2.3"},
		{"a candidate", "v1.2.3-rc.1", debug.Module{Path: modulePath}, "v1.2.3-rc.1"},
		{"a commit, installed", "", debug.Module{Path: modulePath, Version: "v0.0.0-20260101000000-0123456789ab", Sum: "h1:x"}, "v0.0.0-20260101000000-0123456789ab"},
		{"a commit, built in a checkout", "v0.0.0-20260101000000-0123456789ab", debug.Module{Path: modulePath}, ""},
		{"changes after a commit", "v1.2.4-0.20260101000000-0123456789ab+dirty", debug.Module{Path: modulePath}, ""},
		{"a build that knows nothing", "devel", debug.Module{}, ""},
	} {
		if got, ok := published(tt.main, tt.version); ok != (tt.want != "") || (ok && got != tt.want) {
			t.Errorf("%s: got %q, %t, want %q", tt.name, got, ok, tt.want)
		}
	}
}

func TestFindOrigin(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{root, "../../docs", ""} { // the folder of this test is in a checkout, too
		if o, err := FindOrigin(dir, "devel"); err != nil || o.Dir != root || o.Version != "" {
			t.Errorf("%q: got %+v, %v, want %s", dir, o, err, root)
		}
	}
	if _, err := FindOrigin(t.TempDir(), "devel"); err == nil || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("a folder that is no checkout: got %v", err)
	}
	t.Chdir(t.TempDir())
	if o, err := FindOrigin("", "v1.2.3"); err != nil || o.Version != "v1.2.3" || o.Dir != "" {
		t.Errorf("a release: got %+v, %v", o, err)
	}
}

func TestTemplates(t *testing.T) {
	if got := Templates(); !slices.Equal(got, []string{"chat", "notifications", "game", "blank"}) {
		t.Errorf("got %q", got)
	}
}
