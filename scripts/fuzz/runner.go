package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// patience is how long a target may take to run its seeds, and to end after the interrupt.
	patience = 5 * time.Minute
	// minimize bounds the attempts to shorten an input that reaches new code. By default that is a minute of each input:
	// ws/deflate FuzzCompress executed 11 new inputs in two minutes, and 16,000 in 20 seconds with this.
	minimize = "100x"
	// tail is the number of lines of output that are shown of a target that failed.
	tail = 60
)

// result is what came of one target.
type result struct {
	target target
	execs  int
	fresh  int // inputs that reached new code
	total  int // inputs in the corpus
	err    error
	output []string // the last lines
}

func (r result) verdict() string {
	if r.err != nil {
		return "FAIL: " + r.err.Error()
	}
	return "ok"
}

func (r result) String() string {
	s := fmt.Sprintf("%s: %d executions, %d new inputs, %s", r.target, r.execs, r.fresh, r.verdict())
	if r.err != nil {
		s += "\n" + strings.Join(r.output, "\n")
	}
	return s
}

// runner runs targets.
type runner struct {
	opt    options
	temp   string
	cache  string
	built  string // the package whose binary there is
	binary string
}

var (
	progress = regexp.MustCompile(`execs: (\d+) .*new interesting: (\d+) \(total: (\d+)\)`)
	started  = regexp.MustCompile(`now fuzzing`)
)

// build compiles the tests of a package for the fuzzing engine, once for all of its targets.
func (r *runner) build(ctx context.Context, t target) error {
	if r.built == t.pkg {
		return nil
	}
	r.binary = filepath.Join(r.temp, "fuzz.test")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-fuzz=.", "-o", r.binary, t.pkg).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	r.built = t.pkg
	return nil
}

// fuzz runs a target for the set time, which begins once its seeds have passed.
func (r *runner) fuzz(ctx context.Context, t target) (res result) {
	res.target = t
	if err := r.build(ctx, t); err != nil {
		first, rest, _ := strings.Cut(err.Error(), "\n")
		res.err, res.output = errors.New(first), strings.Split(rest, "\n")
		return res
	}
	cmd := exec.CommandContext(ctx, r.binary, "-test.run=^$", "-test.fuzz=^"+t.name+"$",
		"-test.fuzzcachedir="+filepath.Join(r.cache, t.pkg), "-test.fuzzminimizetime="+minimize, "-test.timeout=0")
	cmd.Dir = t.folder
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if res.err = cmd.Start(); res.err != nil {
		return res
	}
	interrupt := time.AfterFunc(patience, func() { _ = cmd.Process.Signal(os.Interrupt) })
	kill := time.AfterFunc(2*patience+r.opt.time, func() { _ = cmd.Process.Kill() })
	read := make(chan struct{})
	running := false
	go func() { // ends with the process
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if started.MatchString(lines.Text()) && !running {
				running = true
				interrupt.Reset(r.opt.time)
			}
			res.add(lines.Text())
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	err := cmd.Wait()
	_ = w.Close()
	<-read
	interrupt.Stop()
	kill.Stop()
	switch {
	case ctx.Err() != nil:
		res.err = ctx.Err()
	case err != nil:
		res.err = err
	case !running || res.execs == 0:
		res.err = errors.New("nothing was executed")
	}
	return res
}

// add takes a line of the output.
func (r *result) add(line string) {
	if m := progress.FindStringSubmatch(line); m != nil {
		r.execs, _ = strconv.Atoi(m[1])
		r.fresh, _ = strconv.Atoi(m[2])
		r.total, _ = strconv.Atoi(m[3])
	}
	r.output = append(r.output, line)
	if len(r.output) > tail {
		r.output = r.output[1:]
	}
}
