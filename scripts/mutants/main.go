// Command mutants tests the tests: it changes one operator of a package after the other, and expects a test to fail.
//
//	go run ./scripts/mutants [-match regexp] [-v] folder…
//
// gremlins lists the mutants. This command tests them itself, because gremlins never tests the conditions of a switch
// (the coverage of Go does not count them), calls a mutant killed that a busy machine made slow, and copies the whole
// module for it. See docs/decisions/0022-mutants-are-tested-here.md.
//
// A mutant that survives is a failure, unless the file of excuses says why it cannot matter.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// options are the flags of the command.
type options struct {
	gremlins string
	excuses  string
	match    string
	workers  int
	verbose  bool
}

// quick stops rapid from looking for a smaller case once one has failed, and from keeping it.
var quick = []string{"-rapid.shrinktime=0s", "-rapid.nofailfile"}

// testArgs are the arguments of the tests of a package.
var testArgs = map[string][]string{
	"internal/topic": quick, "internal/wheel": quick, "ws": quick,
	"auth": {"-test.skip=^TestJose$"}, // it loads a package of npm in each run
	// Each run would start Python and Node.js, and the other tests have to find every fault by themselves.
	"ws/deflate": {"-test.skip=^(TestZlib|TestPythonWebsockets)$"},
}

// tally counts the mutants of a package.
type tally struct {
	folder string
	count  [undecided + 1]int
	excuse int
}

// tester tests the mutants of packages.
type tester struct {
	opt     options
	excuses excuses
	mu      sync.Mutex // for everything below, and for standard output
	tally   *tally
	bad     int // mutants that survived without an excuse, and excuses without a mutant
}

func main() {
	var opt options
	flag.StringVar(&opt.gremlins, "gremlins", ".cache/bin/gremlins", "the program that lists the mutants")
	flag.StringVar(&opt.excuses, "excuses", "scripts/mutants/excused.txt", "the file of mutants that may survive")
	flag.StringVar(&opt.match, "match", "", "test only mutants whose file, function and line match")
	flag.IntVar(&opt.workers, "workers", 2, "mutants that are tested at once")
	flag.BoolVar(&opt.verbose, "v", false, "print every mutant")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, opt, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, opt options, folders []string) error {
	if len(folders) == 0 {
		return errors.New("no package: name the folders of the packages to test")
	}
	text, err := os.ReadFile(opt.excuses)
	if err != nil {
		return err
	}
	excused, err := parseExcuses(opt.excuses, string(text))
	if err != nil {
		return err
	}
	t := &tester{opt: opt, excuses: excused}
	var all []tally
	for _, folder := range folders {
		folder = strings.TrimPrefix(strings.TrimSuffix(folder, "/"), "./")
		t.tally = &tally{folder: folder}
		if err := t.test(ctx, folder); err != nil {
			return fmt.Errorf("%s: %w", folder, err)
		}
		all = append(all, *t.tally)
	}
	printTable(all)
	if t.bad > 0 {
		return fmt.Errorf("%d mutants survived without an excuse, or excuses have no mutant: write a test, or change %s",
			t.bad, opt.excuses)
	}
	return nil
}

// test tests the mutants of one package.
func (t *tester) test(ctx context.Context, folder string) error {
	temp, err := os.MkdirTemp("", "mutants-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	list, err := listMutants(ctx, t.opt.gremlins, folder, temp)
	if err != nil {
		return err
	}
	if t.opt.match != "" {
		match, err := regexp.Compile(t.opt.match)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(m mutant) bool { return !match.MatchString(m.key) })
	} else {
		for _, key := range t.excuses.stale(list) {
			t.bad++
			fmt.Printf("STALE     %s\n", key)
		}
	}
	s, err := newSuite(ctx, folder, testArgs[folder], temp)
	if err != nil {
		return err
	}
	if err := s.combine(ctx, list); err != nil {
		fmt.Printf("note      %s: each mutant has a build of its own: %v\n", folder, err)
	} else if t.opt.verbose {
		fmt.Printf("note      %s: %d of %d mutants are in one build\n", folder, len(s.numbers), len(list))
	}
	work := make(chan mutant)
	fails := make([]error, t.opt.workers)
	var wg sync.WaitGroup
	for i := range t.opt.workers {
		wg.Go(func() { // ends when work is closed
			for m := range work {
				if fails[i] == nil {
					fails[i] = t.try(ctx, s, m, i)
				}
			}
		})
	}
	for _, m := range list {
		work <- m
	}
	close(work)
	wg.Wait()
	return errors.Join(fails...)
}

func (t *tester) try(ctx context.Context, s *suite, m mutant, worker int) error {
	v, out, err := s.try(ctx, m, worker)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tally.count[v]++
	name := [...]string{"killed", "hung", "unviable", "SURVIVED", "UNDECIDED"}[v]
	if _, ok := t.excuses[m.key]; ok {
		switch v {
		case survived, undecided:
			t.tally.excuse++
			name = "excused"
		default:
			fmt.Printf("%-9s %s\n          was killed: does it need its excuse?\n", "note", m.key)
		}
	} else if v == survived || v == undecided {
		t.bad++
	}
	if t.opt.verbose || name == strings.ToUpper(name) {
		fmt.Printf("%-9s %s\n          %s:%d %s\n", name, m.key, m.file, m.line, reasonOf(out))
	}
	return nil
}

func printTable(all []tally) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "package\tmutants\tkilled\thung\tsurvived\tof these excused\tundecided\tunviable\t")
	for _, t := range all {
		n := 0
		for _, c := range t.count {
			n += c
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", t.folder, n, t.count[killed], t.count[hung],
			t.count[survived], t.excuse, t.count[undecided], t.count[unviable])
	}
	w.Flush()
}
