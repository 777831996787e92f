package expedite

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/worker"
)

// liveSettings are those of Config that a reload changes without a new process. Processes of one build exchange them.
type liveSettings struct {
	Limits  engine.Limits `json:"limits"`
	Origins auth.Origins  `json:"origins"`
	Level   *slog.Level   `json:"level,omitempty"`
}

// live returns the settings that the running program can apply, encoded, or nil if it has to be replaced.
func (c *Config) live() ([]byte, error) {
	if !c.InPlace || len(c.Changed) == 0 {
		return nil, nil
	}
	l := liveSettings{Limits: c.limits(), Origins: c.Auth.Origins}
	if c.LogLevel != nil {
		level := c.LogLevel.Level()
		l.Level = &level
	}
	return json.Marshal(l)
}

// limits returns the limits of the engine that can change.
func (c *Config) limits() engine.Limits {
	return engine.Limits{
		MaxConnections: c.MaxConnections, MaxHandshakes: c.MaxHandshakes, MaxPerAddress: c.MaxPerAddress,
		MaxHTTPConnections: c.MaxHTTPConnections,
	}
}

// apply applies settings of live to this process: a worker, or the primary if w is nil.
func (a *App) apply(w *worker.Worker, settings []byte) error {
	var l liveSettings
	if err := json.Unmarshal(settings, &l); err != nil {
		return fmt.Errorf("expedite: changed settings: %w", err)
	}
	if l.Level != nil && a.cfg.LogLevel != nil {
		a.cfg.LogLevel.Set(*l.Level)
	}
	if w != nil {
		w.Apply(l.Limits, l.Origins)
	}
	return nil
}
