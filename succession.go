package expedite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/control"
)

// terms are the settings that a program compares with those of the program whose place it is to take.
type terms struct {
	Addr       string   `json:"addr"`
	Scheduling string   `json:"scheduling"`
	Control    string   `json:"control"`
	Workers    int      `json:"workers"`
	Auth       string   `json:"auth"`
	Origins    []string `json:"origins,omitempty"`
}

func (c *Config) terms() terms {
	return terms{
		Addr: c.Addr, Scheduling: c.Scheduling.String(), Control: c.Control, Workers: c.workers(),
		Auth: c.Auth.mode().String(), Origins: c.Auth.Origins,
	}
}

// refuse reports settings that a reload cannot change.
func (t terms) refuse(next terms) error {
	var faults []error
	for _, s := range []struct{ field, was, is string }{
		{"Addr", t.Addr, next.Addr}, {"Scheduling", t.Scheduling, next.Scheduling}, {"Control", t.Control, next.Control},
	} {
		if s.was != s.is {
			faults = append(faults, fmt.Errorf("expedite: Config.%s was %q and is %q now: "+
				"a reload cannot change it, a restart can", s.field, s.was, s.is))
		}
	}
	return errors.Join(faults...)
}

// warn tells what lets in clients that were kept out.
func (t terms) warn(next terms) (list []string) {
	modes := []string{AuthOff.String(), AuthOptional.String(), AuthRequired.String()} // the strictest last
	if slices.Index(modes, next.Auth) < slices.Index(modes, t.Auth) {
		list = append(list, fmt.Sprintf("clients without a token are let in now: auth was %s and is %s", t.Auth, next.Auth))
	}
	for _, o := range next.Origins {
		if !slices.Contains(t.Origins, o) {
			list = append(list, fmt.Sprintf("pages of %s may connect now", o))
		}
	}
	return list
}

// answer is what a program on trial tells the one that runs. It is written as JSON; fields may be added.
type answer struct {
	Version  string   `json:"version"`
	Env      []string `json:"env,omitempty"`     // of all processes of the program
	Workers  []string `json:"workers,omitempty"` // further entries of its workers' environment
	Warnings []string `json:"warnings,omitempty"`
}

// standTrial says, in a trial, whether this program could take the place of the one that runs.
func (a *App) standTrial(left *cluster.Inheritance, est *estate) error {
	out := answer{Version: a.cfg.Version, Workers: a.workerEnv()}
	if was := est.Terms; was != nil {
		if err := was.refuse(a.cfg.terms()); err != nil {
			return err
		}
		out.Warnings = was.warn(a.cfg.terms())
	}
	if err := errors.Join(est.tryState(a.cfg.StateDir), a.tryDoors(est)); err != nil {
		return err
	}
	if kept, ok := os.LookupEnv(settingsVariable); ok {
		out.Env = append(out.Env, settingsVariable+"="+kept)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return left.Answer(b)
}

// judge takes the answer of a program on trial. Programs before this one give none.
func (d *desk) judge(b []byte) (env, workers []string, err error) {
	var out answer
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			return nil, nil, fmt.Errorf("expedite: the answer of the new program: %w", err)
		}
	}
	for _, w := range out.Warnings {
		d.app.Logger().Warn(w, "version", out.Version)
	}
	d.next.Store(&out)
	return out.Env, out.Workers, nil
}

// follow does what the program before has left to do: it brings the workers to the number that the settings want by
// now, and reloads once more if that was asked for during the last reload. stop waits for its end.
func (p *primary) follow(est *estate) (stop func()) {
	if est == nil || est.Terms == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with stop
		defer close(done)
		if n := p.app.cfg.workers(); n != est.Terms.Workers {
			if _, err := p.desk.Scale(ctx, control.ScaleRequest{Workers: n}, control.Discard{}); err != nil && ctx.Err() == nil {
				p.app.Logger().Error("workers not scaled to the number of the settings", "workers", n, "error", err)
			}
		}
		if est.Again {
			p.desk.reloadAgain()
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
