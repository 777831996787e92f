package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// verdict is what the tests of a package say of a mutant.
type verdict int

const (
	killed    verdict = iota
	hung              // it waits for what never comes, loops, or allocates without end
	unviable          // it does not compile
	survived          // all tests passed
	undecided         // the tests took longer than wall, and nobody can say whether they would end
)

// wall limits each run of the tests. Where processes can be watched, it is reached only on a machine so busy that a
// loop does not get the processor time that tells it apart.
func wall() time.Duration {
	if watches() {
		return 30 * time.Minute
	}
	return 5 * time.Minute
}

// suite runs the tests of one package.
type suite struct {
	folder    string
	args      []string // of the test binary
	temp      string
	unchanged usage // by the tests of the unchanged package
	combined  string
	numbers   map[mutant]int // of those in the combined build
	never     []mutant       // that do not compile
}

// newSuite builds the tests of the unchanged package and runs them once. They have to pass.
func newSuite(ctx context.Context, folder string, args []string, temp string) (*suite, error) {
	s := &suite{folder: folder, args: args, temp: temp}
	binary := filepath.Join(temp, "unchanged.test")
	if out, err := s.build(ctx, binary, ""); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	v, out, used := s.run(ctx, binary, 0, nil)
	if v != survived {
		return nil, fmt.Errorf("the tests of the unchanged package fail\n%s", out)
	}
	s.unchanged = used
	return s, nil
}

// combine makes the combined build of the mutants for which that is possible. Its tests have to pass while no mutant is
// chosen: a test that counts allocations may not.
func (s *suite) combine(ctx context.Context, list []mutant) error {
	c, name, err := combine(ctx, s.folder, list)
	if err != nil {
		return err
	}
	s.never = c.never
	base := filepath.Join(s.temp, "combined")
	overlay, err := c.overlay(s.folder, name, base)
	if err != nil {
		return err
	}
	if out, err := s.build(ctx, base+".test", overlay); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	v, out, used := s.run(ctx, base+".test", 0, nil)
	if v != survived {
		return fmt.Errorf("the tests fail although no mutant is chosen\n%s", out)
	}
	s.unchanged.cpu, s.unchanged.idle = max(s.unchanged.cpu, used.cpu), max(s.unchanged.idle, used.idle)
	s.combined, s.numbers = base+".test", map[mutant]int{}
	for i, m := range c.of {
		s.numbers[m] = i + 1
	}
	return nil
}

// build compiles the tests. An overlay is a file for the flag of that name, or empty. It leaves vet out, because what
// vet finds is not found by a test, and the tables for debuggers, which take most of the time.
func (s *suite) build(ctx context.Context, binary, overlay string) (string, error) {
	args := []string{"test", "-c", "-vet=off", "-ldflags=-w", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "./"+s.folder)...).CombinedOutput()
	return string(out), err
}

// run runs a test binary. Number chooses a mutant of the combined build. The binary is killed if it uses too much more
// than the unchanged package, where that is known.
func (s *suite) run(ctx context.Context, binary string, number int, unchanged *usage) (verdict, string, usage) {
	args := append([]string{"-test.failfast", "-test.timeout=" + wall().String()}, s.args...)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = s.folder
	cmd.Env = append(os.Environ(), fmt.Sprint(variable, "=", number))
	cmd.WaitDelay = 5 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	used, exceeded, err := runWatched(cmd, unchanged)
	switch {
	case exceeded:
		return hung, fmt.Sprintf("panic: idle for %v, %v of processor time, %d MiB",
			used.idle, used.cpu.Round(time.Second), used.size>>20), used
	case err == nil:
		return survived, "", used
	case bytes.Contains(out.Bytes(), []byte("panic: test timed out after")):
		return undecided, out.String(), used
	}
	return killed, out.String(), used
}

// try tests a mutant. Worker is the number of the goroutine, which has files of its own.
func (s *suite) try(ctx context.Context, m mutant, worker int) (verdict, string, error) {
	if slices.Contains(s.never, m) {
		return unviable, "", ctx.Err()
	}
	if number, ok := s.numbers[m]; ok {
		v, out, _ := s.run(ctx, s.combined, number, &s.unchanged)
		return v, out, ctx.Err()
	}
	base := filepath.Join(s.temp, fmt.Sprintf("mutant%d", worker))
	overlay, err := s.overlay(m, base)
	if err != nil {
		return undecided, "", err
	}
	binary := base + ".test"
	if out, err := s.build(ctx, binary, overlay); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || ctx.Err() != nil {
			return undecided, "", err
		}
		return unviable, out, nil
	}
	v, out, _ := s.run(ctx, binary, 0, &s.unchanged)
	return v, out, ctx.Err()
}

// overlay writes the changed file, and the file that names it for the flag -overlay.
func (s *suite) overlay(m mutant, base string) (string, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	changed := base + ".go"
	if err := os.WriteFile(changed, []byte(m.apply(string(text))), 0o600); err != nil {
		return "", err
	}
	full, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(map[string]map[string]string{"Replace": {full: changed}})
	if err != nil {
		return "", err
	}
	return base + ".json", os.WriteFile(base+".json", b, 0o600)
}

// reasonOf returns the first line of the output that says why the tests failed.
func reasonOf(output string) string {
	for line := range strings.Lines(output) {
		if strings.HasPrefix(line, "--- FAIL") || strings.HasPrefix(line, "panic:") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
