package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// source is the checkout that a release is built from.
type source struct {
	dir     string
	version string // with v
	commit  string
	date    time.Time // of the commit
	tagged  bool
	files   string // the folder of export
}

// newSource returns the source in a folder, or an error if it is no release. A snapshot need not be one.
func newSource(ctx context.Context, dir string, snapshot bool) (*source, error) {
	top, err := readChangelog(dir)
	if err != nil {
		return nil, err
	}
	s := &source{dir: dir, version: "v" + top.version}
	if s.commit, err = s.git(ctx, "rev-parse", "HEAD"); err != nil {
		return nil, err
	}
	seconds, err := s.git(ctx, "log", "-1", "--format=%ct")
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, err
	}
	s.date = time.Unix(n, 0).UTC()
	if snapshot {
		s.version += "-dev." + s.commit[:12]
		return s, nil
	}
	return s, s.check(ctx, top)
}

// check returns an error if the section of the changelog has no date, if a file has changed since the commit, or if the
// tag is at another commit.
func (s *source) check(ctx context.Context, top section) error {
	if top.date == unreleased {
		return fmt.Errorf("CHANGELOG.md: the section of %s has no date: run `go run ./scripts/release -prepare`, and "+
			"commit it; for archives that are no release, use -snapshot", top.version)
	}
	changed, err := s.git(ctx, "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return errors.New("files are not committed:\n" + changed)
	}
	// The commit, also of an annotated tag.
	const commit = "--format=%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
	tag, err := s.git(ctx, "tag", "--list", commit, s.version)
	if err != nil {
		return err
	}
	s.tagged = tag == s.commit
	if tag != "" && !s.tagged {
		return fmt.Errorf("the tag %s is at another commit, %s: the first section of CHANGELOG.md wants the next version",
			s.version, tag)
	}
	return nil
}

// git returns the output of a command of git.
func (s *source) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Stderr = s.dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// export writes the files of the commit into an empty folder, from which everything is built. A release does not
// contain uncommitted files, or changes made to the checkout during the build.
func (s *source) export(ctx context.Context, into string) error {
	files, err := s.git(ctx, "archive", "--format=zip", s.commit)
	if err != nil {
		return err
	}
	r, err := zip.NewReader(strings.NewReader(files), int64(len(files)))
	if err != nil {
		return err
	}
	if err := os.CopyFS(into, r); err != nil {
		return err
	}
	s.files = into
	return nil
}

// platforms returns the platforms of a release.
func platforms() []string {
	return []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"}
}

// where the linker puts what the program says of itself.
const variables = "github.com/expedite-go/expedite/internal/command."

// build writes the archive for a platform into a folder, and returns its name.
func (s *source) build(ctx context.Context, platform, out string) (name string, err error) {
	system, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return "", fmt.Errorf("-platforms: %q: want one like linux/amd64", platform)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	temporary, err := os.MkdirTemp("", "release")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	program, kind := "expedite", ".tar.gz"
	if system == "windows" {
		program, kind = "expedite.exe", ".zip"
	}
	path := filepath.Join(temporary, program)
	// The linker is told the version, so that a clone without tags gives the same program.
	flags := fmt.Sprintf("-s -w -X %sversion=%s -X %scommit=%s -X %sdate=%s",
		variables, s.version, variables, s.commit, variables, s.date.Format(time.RFC3339))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", path,
		"./cmd/expedite")
	cmd.Dir, cmd.Stderr = s.files, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch, "GOFLAGS=", "GOAMD64=v1",
		"GOARM64=v8.0")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w", platform, err)
	}
	files := []entry{{program, path, 0o755}}
	for _, text := range []string{"CHANGELOG.md", "LICENSE", "README.md"} {
		files = append(files, entry{text, filepath.Join(s.files, text), 0o644})
	}
	name = "expedite_" + strings.TrimPrefix(s.version, "v") + "_" + system + "_" + arch + kind
	return name, writeArchive(filepath.Join(out, name), files, s.date)
}
