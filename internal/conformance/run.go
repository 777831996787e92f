package conformance

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
)

// Outcome is how a case ended.
type Outcome string

// The outcomes.
const (
	Pass Outcome = "pass"
	// Weak means that the connection was failed, as it must be, but without the close frame that should tell why.
	Weak Outcome = "weak"
	Fail Outcome = "fail"
)

// Result is one run of a case.
type Result struct {
	Rule        string  `json:"rule"`
	Case        string  `json:"case"`
	Target      string  `json:"target"`
	Combination string  `json:"combination"`
	Outcome     Outcome `json:"outcome"`
	Detail      string  `json:"detail,omitempty"`
}

const defaultParallel = 16

// job is a case that is to run.
type job struct {
	rule *Rule
	c    *Case
}

// Run runs the cases of rules that apply to the target and the plan, and returns a result for each.
func Run(t *Target, p *Plan, rules []Rule) ([]Result, error) {
	var jobs []job
	for i := range rules {
		for j := range rules[i].Cases {
			if c := &rules[i].Cases[j]; c.Peer == nil && t.has(c.Needs) && p.applies(c) {
				jobs = append(jobs, job{&rules[i], c})
			}
		}
	}
	var g *gate
	parallel := p.Parallel
	if parallel == 0 {
		parallel = defaultParallel
	}
	moved := make(chan error, 1)
	if p.cuts() {
		g, parallel = newGate(len(jobs)), len(jobs)
		go func() { // ends after the move
			g.arrived.Wait()
			moved <- p.Move()
			close(g.open)
		}()
	} else {
		moved <- nil
	}
	results := make([]Result, len(jobs))
	var running sync.WaitGroup
	next := make(chan int)
	for range parallel {
		running.Go(func() { // ends when all jobs are done
			for i := range next {
				x := &exchange{target: t, c: jobs[i].c, plan: p, pass: &pass{gate: g}}
				results[i] = resultOf(jobs[i], t, p, x.run())
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	running.Wait()
	if err := <-moved; err != nil {
		return results, fmt.Errorf("conformance: moving connections: %w", err)
	}
	return results, nil
}

// applies reports whether a case can be run by the plan. A case without frames cannot be cut in them.
func (p *Plan) applies(c *Case) bool {
	frames := len(c.Send) > 0 || c.Script != nil
	switch p.Delivery {
	case Together:
		return c.Script == nil && len(c.Send) > 0 && opens(c)
	case CutFrames, CutLast:
		return frames
	default:
		return true
	}
}

func opens(c *Case) bool {
	n := len(c.Answers)
	return n == 0 || slices.Contains(c.Answers[n-1].Status, http.StatusSwitchingProtocols)
}

func resultOf(j job, t *Target, p *Plan, err error) Result {
	r := Result{Rule: j.rule.ID, Case: j.c.Name, Target: t.Name, Combination: p.Name, Outcome: Pass}
	if err == nil {
		return r
	}
	r.Outcome, r.Detail = Fail, err.Error()
	var w *weakness
	if errors.As(err, &w) {
		r.Outcome = Weak
	}
	return r
}
