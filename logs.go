package expedite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/expedite-go/expedite/internal/telemetry"
)

// openJournal opens the log of a slot; 0 is the primary's.
func (a *App) openJournal(slot int) error {
	j, err := telemetry.OpenJournal(telemetry.JournalConfig{
		Handler: a.cfg.Logger.Handler(), Dir: a.cfg.LogDir, Slot: slot, Queue: a.cfg.LogQueue, PerSecond: a.cfg.LogSample,
	})
	if err != nil {
		return fmt.Errorf("expedite: Config.LogDir: %w", err)
	}
	a.journal.Store(j)
	return nil
}

// flushLogs waits a while for the lines of this process to be written.
func (a *App) flushLogs() {
	if j := a.journal.Load(); j != nil {
		j.Close()
	}
}

// Logger is where this process logs: its lines are shown by `expedite logs`, and tokens are left out of them. Nothing
// waits for them to be written: see Config.Logger. Before Run it is Config.Logger.
func (a *App) Logger() *slog.Logger {
	if j := a.journal.Load(); j != nil {
		return j.Logger
	}
	return a.cfg.Logger
}

// ReopenLogs makes all processes go on in new files in Config.LogDir, after the old ones were renamed, or else by
// renaming them. In a worker it is this process alone. Any goroutine.
func (a *App) ReopenLogs(ctx context.Context) error {
	var err error
	if j := a.journal.Load(); j != nil {
		err = j.Reopen()
	}
	if r := a.role.Load(); r != nil && r.worker == nil {
		err = errors.Join(err, r.desk.registry.ReopenLogs(ctx))
	}
	if err != nil {
		return fmt.Errorf("expedite: logs not reopened: %w", err)
	}
	return nil
}
