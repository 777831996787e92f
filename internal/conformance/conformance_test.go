package conformance

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/cluster"
)

var (
	everything = flag.Bool("everything", false, "run every case in every combination")
	reportDir  = flag.String("report", "", "folder for conformance.md and conformance.json")
)

// TestConformance runs each case once, each in another combination, or with -everything all in all of them.
func TestConformance(t *testing.T) {
	report := &Report{Rules: append(Rules(), ClientRules()...)}
	if *everything {
		runEverything(t, report)
	} else {
		runOnce(t, report)
	}
	runClients(t, report)
	writeReport(t, report)
	bad := report.Bad()
	for i, b := range bad {
		if i == 50 {
			t.Errorf("%d more: see -report", len(bad)-i)
			break
		}
		t.Errorf("%s, %s (%s, %s): %s: %s", b.Rule, b.Case, b.Target, b.Combination, b.Outcome, b.Detail)
	}
	for i := range report.Rules {
		r := &report.Rules[i]
		if n := report.of(r); n.Runs == 0 && r.Unseen == "" {
			t.Errorf("%s was not run", r.ID)
		}
	}
	t.Logf("%d runs", len(report.Results))
}

// deliveries are the plans without a move.
func deliveries() (plans []Plan) {
	for _, d := range []Delivery{Whole, Together, Bytewise} {
		plans = append(plans, Plan{Name: d.String(), Delivery: d}, Plan{Name: d.String() + ", later request", Delivery: d, Later: true})
	}
	return plans
}

// moves are the plans that move connections.
func moves(s *server) (plans []Plan) {
	for _, d := range []Delivery{CutHead, CutFrames, CutLast} {
		plans = append(
			plans,
			Plan{Name: d.String(), Delivery: d, Move: s.move},
			Plan{Name: d.String() + ", later request", Delivery: d, Later: true, Move: s.move},
		)
	}
	return plans
}

// runOnce runs each case in one of the combinations, in turns, and those that can be cut once more with a move.
func runOnce(t *testing.T, report *Report) {
	s := launch(t, "", serverConfig{Workers: 1, Compression: expedite.CompressionTakeover, Features: true})
	targets := []*Target{s.target("workers, inline", pathFeatures), s.target("workers, goroutines", pathGoroutine)}
	plans := deliveries()
	for i, p := range plans {
		for j, target := range targets {
			run(t, report, target, &p, share(report.Rules, i*len(targets)+j, len(plans)*len(targets), &p))
		}
	}
	if !cluster.Supported {
		return
	}
	p := moves(s)[2]
	run(t, report, targets[0], &p, report.Rules)
}

// share returns every nth case, from the kth on; and if a plan does not apply to a case, another one takes it.
func share(rules []Rule, k, n int, p *Plan) []Rule {
	part := make([]Rule, len(rules))
	at := 0
	for i := range rules {
		part[i] = rules[i]
		part[i].Cases = nil
		for _, c := range rules[i].Cases {
			whole := p.Delivery == Whole && !p.Later
			turn := at % n
			if together := turn/2 == 2 || turn/2 == 3; together && !(&Plan{Delivery: Together}).applies(&c) {
				turn %= 2 // as a whole, in the same dispatch
			}
			if turn == k || whole && turn < 2 && turn == k {
				part[i].Cases = append(part[i].Cases, c)
			}
			at++
		}
	}
	return part
}

// runEverything runs all cases in all combinations.
func runEverything(t *testing.T, report *Report) {
	pump := filepath.Join(t.TempDir(), "pump")
	if out, err := exec.Command("go", "test", "-c", "-tags", "pump", "-o", pump, ".").CombinedOutput(); err != nil {
		t.Fatalf("building with the tag pump: %v\n%s", err, out)
	}
	for _, v := range []struct {
		name, binary string
		cfg          serverConfig
	}{
		{"workers", "", serverConfig{Workers: 2}},
		{"workers, takeover", "", serverConfig{Workers: 2, Compression: expedite.CompressionTakeover}},
		{"workers, every feature", "", serverConfig{
			Workers: 2, Compression: expedite.CompressionTakeover, Features: true,
		}},
		{"one process, shared", "", serverConfig{Workers: -1, Compression: expedite.CompressionShared}},
		{"pumps, takeover", pump, serverConfig{Workers: -1, Compression: expedite.CompressionTakeover}},
	} {
		if v.cfg.Workers > 0 && !cluster.Supported {
			continue
		}
		s := launch(t, v.binary, v.cfg)
		paths := []string{pathInline, pathGoroutine}
		if v.cfg.Features {
			paths[0] = pathFeatures
		}
		for _, path := range paths {
			target := s.target(v.name+", "+path[1:], path)
			plans := deliveries()
			if v.cfg.Workers > 0 {
				plans = append(plans, moves(s)...)
			}
			for _, p := range plans {
				run(t, report, target, &p, report.Rules)
			}
		}
		s.end()
	}
}

func run(t *testing.T, report *Report, target *Target, p *Plan, rules []Rule) {
	t.Helper()
	results, err := Run(target, p, rules)
	if err != nil {
		t.Error(err)
	}
	report.Results = append(report.Results, results...)
	t.Logf("%s, %s: %d runs", target.Name, p.Name, len(results))
}

func writeReport(t *testing.T, report *Report) {
	t.Helper()
	if *reportDir == "" {
		return
	}
	if err := os.MkdirAll(*reportDir, 0o755); err != nil {
		t.Fatal(err)
	}
	var md, js strings.Builder
	if err := report.WriteMarkdown(&md); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(&js); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"conformance.md": md.String(), "conformance.json": js.String()} {
		if err := os.WriteFile(filepath.Join(*reportDir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
