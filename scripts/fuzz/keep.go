package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// longest is the size in bytes of the largest input that is kept.
const longest = 4 << 10

// keep copies inputs that the fuzzer has found to testdata/fuzz: the shortest ones first, and only those that reach
// code that the seeds and the inputs before them do not reach.
func (r *runner) keep(ctx context.Context, t target) error {
	binary := filepath.Join(r.temp, "cover.test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-cover", "-vet=off", "-o", binary, t.pkg).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -c -cover: %w\n%s", err, out)
	}
	found, err := inputs(filepath.Join(r.cache, t.pkg, t.name))
	if err != nil {
		return err
	}
	folder := filepath.Join(t.folder, "testdata", "fuzz", t.name)
	kept, err := inputs(folder)
	if err != nil {
		return err
	}
	// The tests run where only the input that is measured is in testdata.
	place := filepath.Join(r.temp, "place")
	if err := os.RemoveAll(place); err != nil {
		return err
	}
	reached, err := r.reach(ctx, t, binary, place, append([]string{}, kept...))
	if err != nil {
		return err
	}
	count := len(kept)
	for _, in := range found {
		if count >= r.opt.keep {
			break
		}
		now, err := r.reach(ctx, t, binary, place, []string{in})
		if err != nil {
			continue // too slow, or it depends on other files
		}
		more := false
		for block := range now {
			more = more || !reached[block]
			reached[block] = true
		}
		if !more {
			continue
		}
		if err := copyFile(in, filepath.Join(folder, filepath.Base(in))); err != nil {
			return err
		}
		count++
	}
	return nil
}

// inputs returns the files of a folder, the shortest ones first, without those that are too long.
func inputs(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	sizes := map[string]int64{}
	var list []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if path := filepath.Join(folder, e.Name()); info.Size() <= longest {
			sizes[path] = info.Size()
			list = append(list, path)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return int(sizes[a] - sizes[b]) })
	return list, nil
}

// reach returns the blocks of code that the seeds of a target and some inputs reach.
func (r *runner) reach(ctx context.Context, t target, binary, place string, list []string) (map[string]bool, error) {
	folder := filepath.Join(place, "testdata", "fuzz", t.name)
	if err := os.RemoveAll(folder); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	for _, in := range list {
		if err := copyFile(in, filepath.Join(folder, filepath.Base(in))); err != nil {
			return nil, err
		}
	}
	profile := filepath.Join(place, "profile")
	cmd := exec.CommandContext(ctx, binary, "-test.run=^"+t.name+"$", "-test.coverprofile="+profile, "-test.timeout=60s")
	cmd.Dir = place
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	f, err := os.Open(profile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	reached := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if block, n, ok := strings.Cut(lines.Text(), " "); ok && !strings.HasSuffix(n, " 0") {
			reached[block] = true
		}
	}
	return reached, nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
