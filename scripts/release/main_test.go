package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// git runs a command of git in a folder.
func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Release", "-c", "user.email=release@example.com"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_COMMITTER_DATE=2026-12-01T10:00:00Z", "GIT_AUTHOR_DATE=2026-12-01T10:00:00Z")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
}

// clone returns a repository with the files of this checkout, as they are now, in one commit. The section of the next
// release has a date.
func clone(t *testing.T) string {
	t.Helper()
	const root = "../.."
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("this is no checkout: %v", err)
	}
	dir := t.TempDir()
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) { // removed, and not committed
			continue
		}
		path := filepath.Join(dir, name)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := readChangelog(dir); err != nil {
		t.Fatal(err)
	} else if s.date == unreleased {
		if err := prepareChangelog(dir, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "release")
	return dir
}

// release builds the archive of a platform of a clone, and returns the folder of the archive.
func release(t *testing.T, dir, platform string) string {
	t.Helper()
	s, err := newSource(t.Context(), dir, false)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := s.export(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	name, err := s.build(t.Context(), platform, out)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSums(out, []string{name}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReproducible checks that two checkouts of a commit give the same archive, that it holds what it should, and that
// its program knows its version, although the repository has no tag.
func TestReproducible(t *testing.T) {
	one := clone(t)
	two := filepath.Join(t.TempDir(), "elsewhere")
	git(t, one, "clone", "-q", one, two)
	exclude := errors.Join( // a release has nothing that git ignores
		os.WriteFile(filepath.Join(two, ".git", "info", "exclude"), []byte("ignored.go\n"), 0o600),
		os.WriteFile(filepath.Join(two, "cmd", "expedite", "ignored.go"), []byte("package no program"), 0o600),
	)
	if exclude != nil {
		t.Fatal(exclude)
	}
	first, second := release(t, one, "linux/amd64"), release(t, two, "linux/amd64")
	read := func(dir string) string {
		b, err := os.ReadFile(filepath.Join(dir, sumsName))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if a, b := read(first), read(second); a != b || strings.Count(a, "\n") != 1 {
		t.Errorf("got the checksums\n%s and\n%s", a, b)
	}
	check := exec.Command("sha256sum", "--check", "--strict", sumsName)
	check.Dir = first
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	top, err := readChangelog(one)
	if err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	var names []string
	for _, h := range extract(t, filepath.Join(first, "expedite_"+top.version+"_linux_amd64.tar.gz"), into) {
		names = append(names, h.Name)
	}
	if got, want := strings.Join(names, " "), "expedite CHANGELOG.md LICENSE README.md"; got != want {
		t.Errorf("the archive has %s, want %s", got, want)
	}
	out, err := exec.Command(filepath.Join(into, "expedite"), "version").CombinedOutput()
	if want := "expedite v" + top.version + " (commit "; err != nil || !strings.HasPrefix(string(out), want) ||
		!strings.Contains(string(out), ", 2026-12-01T10:00:00Z, go") {
		t.Errorf("got %v, %s; want %s", err, out, want)
	}
}

// extract extracts an archive, and returns the heads of its files.
func extract(t *testing.T, archive, into string) (files []*tar.Header) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	gz, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, os.WriteFile(filepath.Join(into, h.Name), b, h.FileInfo().Mode())); err != nil {
			t.Fatal(err)
		}
		files = append(files, h)
	}
}

// TestArchives checks the names, modes and times in both kinds of archives.
func TestArchives(t *testing.T) {
	dir := t.TempDir()
	program, text := filepath.Join(dir, "p"), filepath.Join(dir, "t")
	if err := errors.Join(os.WriteFile(program, []byte("program"), 0o600), os.WriteFile(text, []byte("text"), 0o600)); err != nil {
		t.Fatal(err)
	}
	date := time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC)
	files := []entry{{"expedite", program, 0o755}, {"README.md", text, 0o644}}
	const want = "expedite -rwxr-xr-x 2026-12-01T10:00:00Z; README.md -rw-r--r-- 2026-12-01T10:00:00Z; "
	show := func(name string, info os.FileInfo) string {
		return fmt.Sprintf("%s %s %s; ", name, info.Mode(), info.ModTime().UTC().Format(time.RFC3339))
	}
	var got string
	zipped, packed := filepath.Join(dir, "a.zip"), filepath.Join(dir, "a.tar.gz")
	if err := errors.Join(writeArchive(zipped, files, date), writeArchive(packed, files, date)); err != nil {
		t.Fatal(err)
	}
	z, err := zip.OpenReader(zipped)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for _, f := range z.File {
		got += show(f.Name, f.FileInfo())
	}
	if got != want {
		t.Errorf("zip: got %s, want %s", got, want)
	}
	got = ""
	for _, h := range extract(t, packed, t.TempDir()) {
		got += show(h.Name, h.FileInfo())
	}
	if got != want {
		t.Errorf("tar.gz: got %s, want %s", got, want)
	}
}

// TestRefuses checks what is no release.
func TestRefuses(t *testing.T) {
	changelog := func(heading string) string { return "# Changelog\n\n" + heading + "\n\n### Added\n\n* All.\n" }
	const dated = "## 0.1.0 - 2026-12-01"
	for _, tt := range []struct {
		name, changelog string
		prepare         func(dir string)
		want            string // "": it is a release
	}{
		{"a release", changelog(dated), nil, ""},
		{"a release with its tag", changelog(dated), func(dir string) { git(t, dir, "tag", "-a", "v0.1.0", "-m", "x") }, ""},
		{"an earlier tag", changelog(dated), func(dir string) { git(t, dir, "tag", "v0.0.9") }, ""},
		{"no date", changelog("## 0.1.0 - unreleased"), nil, "has no date: run `go run ./scripts/release -prepare`"},
		{"no section", "# Changelog\n", nil, `the first section is ""`},
		{"another section first", changelog("## Unreleased\n\n* More.\n\n" + dated), nil, `the first section is "## Unreleased"`},
		{"an empty section", "# Changelog\n\n" + dated + "\n\n## 0.0.9 - 2026-01-01\n\n* All.\n", nil, "0.1.0 is empty"},
		{"a changed file", changelog(dated), func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(changelog(dated)+"* More.\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "not committed"},
		{"a new file", changelog(dated), func(dir string) {
			if err := os.WriteFile(filepath.Join(dir, "new.go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "new.go"},
		{"a tag elsewhere", changelog(dated), func(dir string) {
			git(t, dir, "tag", "v0.1.0")
			git(t, dir, "commit", "-q", "--allow-empty", "-m", "after it")
		}, "the tag v0.1.0 is at another commit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(tt.changelog), 0o600); err != nil {
				t.Fatal(err)
			}
			git(t, dir, "init", "-q")
			git(t, dir, "add", "-A")
			git(t, dir, "commit", "-q", "-m", "x")
			if tt.prepare != nil {
				tt.prepare(dir)
			}
			s, err := newSource(t.Context(), dir, false)
			if tt.want == "" && (err != nil || s.version != "v0.1.0") ||
				tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %+v, %v; want %q", s, err, tt.want)
			}
			if _, errRead := readChangelog(dir); errRead == nil {
				if s, err := newSource(t.Context(), dir, true); err != nil || !strings.HasPrefix(s.version, "v0.1.0-dev.") {
					t.Errorf("a snapshot: got %+v, %v", s, err)
				}
			}
		})
	}
}

// TestPrepare checks that only the section of the next release gets a date, once.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "CHANGELOG.md")
	const text = "# Changelog\n\n## 0.2.0 - unreleased\n\n* As in 0.1.0 - unreleased\n\n## 0.1.0 - 2026-12-01\n\n* All.\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var notes strings.Builder
	if err := errors.Join(prepareChangelog(dir, time.Date(2027, 1, 2, 3, 0, 0, 0, time.UTC)), printNotes(dir, &notes)); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if want := strings.Replace(text, "unreleased", "2027-01-02", 1); err != nil || string(b) != want {
		t.Errorf("got %v, %s", err, b)
	}
	if got := notes.String(); got != "* As in 0.1.0 - unreleased\n" {
		t.Errorf("got the notes %q", got)
	}
	if err := prepareChangelog(dir, time.Now()); err == nil || !strings.Contains(err.Error(), "2027-01-02") {
		t.Errorf("twice: got %v", err)
	}
}
