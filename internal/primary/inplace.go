package primary

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/expedite-go/expedite/internal/control"
)

// errInPlace ends a reload after its trial: the running program can apply what has changed.
var errInPlace = errors.New("the settings change without a new process")

// build returns a hash of the program file of this process.
func build() ([]byte, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	return h.Sum(nil), nil
}

// appliesInPlace reports whether this program and its workers can apply what a program on trial has changed. After a
// reload that kept this program, the workers may be of another one.
func (r *roller) appliesInPlace(a *answer) bool {
	if a.Live == nil || r.mixed {
		return false
	}
	own, err := build()
	return err == nil && bytes.Equal(own, a.Build)
}

// applyInPlace applies the settings of a program on trial to this process, its workers, and those that start later.
func (r *roller) applyInPlace(ctx context.Context, a *answer, workers int) (control.Result, error) {
	for _, kv := range a.Env { // later workers and trials read the new settings
		name, value, _ := strings.Cut(kv, "=")
		if err := os.Setenv(name, value); err != nil {
			r.log.Error("changed settings not applied", "changed", a.Changed, "error", err)
			return control.Result{}, r.explain(err)
		}
	}
	r.next.cfg.Origins = a.Origins
	err := errors.Join(r.next.cfg.Apply(a.Live), r.next.registry.Apply(ctx, a.Live))
	if err != nil {
		r.log.Error("changed settings not applied by all workers", "changed", a.Changed, "error", err)
		return control.Result{}, r.explain(fmt.Errorf("a worker has not applied the settings, the others have: %w", err))
	}
	r.log.Info("settings applied without a new process", "changed", a.Changed, "workers", workers)
	return control.Result{Workers: workers, Changed: a.Changed, InPlace: true, Warnings: a.Warnings}, nil
}
