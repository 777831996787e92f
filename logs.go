package expedite

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/expedite-go/expedite/internal/telemetry"
)

// journalConfig returns the configuration of the log of a slot; 0 is the primary.
func (a *App) journalConfig(slot int) telemetry.JournalConfig {
	return telemetry.JournalConfig{
		Handler: a.cfg.Logger.Handler(), Dir: a.cfg.LogDir, Slot: slot, Queue: a.cfg.LogQueue, PerSecond: a.cfg.LogSample,
	}
}

// openJournal opens the log of a slot.
func (a *App) openJournal(slot int) error {
	j, err := telemetry.OpenJournal(a.journalConfig(slot))
	if err != nil {
		return fmt.Errorf("expedite: Config.LogDir: %w", err)
	}
	a.journal.Store(j)
	return nil
}

// flushLogs waits up to a second for the queued lines to be written.
func (a *App) flushLogs() {
	if j := a.journal.Load(); j != nil {
		j.Close()
	}
}

// Logger returns the logger of this process: `expedite logs` shows its lines, and tokens are left out of them. Logging
// never blocks, see Config.Logger. Before Run it is Config.Logger.
func (a *App) Logger() *slog.Logger {
	if j := a.journal.Load(); j != nil {
		return j.Logger
	}
	return a.cfg.Logger
}

// ReopenLogs has all processes continue in new files in Config.LogDir: it opens the files again if they were renamed,
// else it renames them. In a worker it does so for this process only. It is safe for concurrent use.
func (a *App) ReopenLogs(ctx context.Context) error {
	var err error
	if r := a.role.Load(); r != nil && r.control != nil {
		err = r.control.ReopenLogs(ctx)
	} else if j := a.journal.Load(); j != nil {
		err = j.Reopen()
	}
	if err != nil {
		return fmt.Errorf("expedite: logs not reopened: %w", err)
	}
	return nil
}
