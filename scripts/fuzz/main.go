// Command fuzz runs every fuzz target of the module for a set time, prints a table, and fails at the end if one failed:
//
//	go run ./scripts/fuzz [-time 30s] [-match regexp] [-keep n] [package…]
//
// It ends each target with an interrupt. With the flag -fuzztime, Go before 1.27 now and then reports its own deadline
// as a failure of the target (go.dev/issue/75804), mostly on a busy machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
)

// options are the flags of the command.
type options struct {
	time  time.Duration
	match string
	keep  int
	list  bool
}

func main() {
	var opt options
	flag.DurationVar(&opt.time, "time", 30*time.Second, "how long each target runs")
	flag.StringVar(&opt.match, "match", "", "run only targets whose package and name match")
	flag.IntVar(&opt.keep, "keep", 0, "fill testdata/fuzz up to this many inputs per target that reach more code")
	flag.BoolVar(&opt.list, "list", false, "print the targets and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	patterns := flag.Args()
	if len(patterns) == 0 {
		patterns = []string{"./..."}
	}
	if err := run(ctx, opt, patterns); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opt options, patterns []string) error {
	match, err := regexp.Compile(opt.match)
	if err != nil {
		return err
	}
	list, err := targets(ctx, patterns)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "fuzz-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	cache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	r := &runner{opt: opt, temp: temp, cache: filepath.Join(strings.TrimSpace(string(cache)), "fuzz")}
	var results []result
	for _, t := range list {
		if !match.MatchString(t.String()) || ctx.Err() != nil {
			continue
		}
		if opt.list {
			fmt.Println(t)
			continue
		}
		res := r.fuzz(ctx, t)
		fmt.Println(res)
		results = append(results, res)
		if opt.keep > 0 && res.err == nil {
			if err := r.keep(ctx, t); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
		}
	}
	if opt.list {
		return nil
	}
	return summary(results)
}

// summary prints the table.
func summary(results []result) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ntarget\texecutions\tnew inputs\tinputs\tresult")
	failed := 0
	for _, r := range results {
		if r.err != nil {
			failed++
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", r.target, r.execs, r.fresh, r.total, r.verdict())
	}
	w.Flush()
	switch {
	case len(results) == 0:
		return errors.New("no target")
	case failed > 0:
		return fmt.Errorf("%d of %d targets failed; inputs that fail are in the folders testdata/fuzz", failed, len(results))
	}
	return nil
}
