package primary

import (
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/history"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// keepHistory connects the hub with the histories of topics, if any topic has one. A program that has replaced another
// one goes on with what that has kept. With other machines, the backplane keeps them.
func (p *Primary) keepHistory() error {
	file := p.before.file(fileHistory)
	if file != nil {
		defer file.Close()
	}
	if p.cfg.History.Rules.Len() == 0 || p.cfg.Plane != nil {
		return nil
	}
	store := history.New(p.cfg.History)
	p.cfg.Histories = store
	p.workers.hub.Keep(store)
	if file == nil {
		return nil
	}
	_, err := file.Seek(0, io.SeekStart)
	if err == nil {
		err = store.ReadState(file)
	}
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return nil
}

// addHistory adds a file for the histories of topics, if any topic has one.
func (w *inheritanceWriter) addHistory(files map[string]*os.File) (err error) {
	if w.cfg.Histories == nil {
		return nil
	}
	if files[fileHistory], err = memoryFile(fileHistory); err != nil {
		delete(files, fileHistory)
	}
	return err
}

// saveHistory writes the histories of topics.
func (w *inheritanceWriter) saveHistory(file *os.File) error {
	if w.cfg.Histories == nil {
		return nil
	}
	err := file.Truncate(0)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = w.cfg.Histories.WriteState(file)
	}
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	return nil
}

// historyReport returns the numbers of a store; nil if there is none.
func historyReport(s *history.Store) *telemetry.HistoryReport {
	if s == nil {
		return nil
	}
	n := s.Stats()
	return &telemetry.HistoryReport{
		Topics: n.Topics, Messages: n.Messages, Bytes: n.Bytes, LimitBytes: n.MaxBytes,
		Events: map[string]uint64{"evicted": n.Evicted, "forgotten": n.Forgotten, "pages": n.Pages, "lost": n.Lost},
	}
}

// historyStatus returns the numbers of a store, with the results of recoveries in workers.
func historyStatus(s *history.Store, recoveries map[string]uint64) *control.HistoryStatus {
	r := historyReport(s)
	if r == nil {
		return nil
	}
	maps.Copy(r.Events, recoveries)
	return &control.HistoryStatus{
		Topics: int64(r.Topics), Messages: int64(r.Messages), Bytes: r.Bytes, LimitBytes: r.LimitBytes, Events: r.Events,
	}
}
