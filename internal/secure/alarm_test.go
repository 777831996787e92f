package secure_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/fakeclock"
	"github.com/expedite-go/expedite/internal/secure"
)

// TestAlarm: one process logs 14 days, 7 days and 1 day before a certificate expires, and when it does, each once, and
// begins again with the next certificate. One that lives for less time is told of when a third of that is left.
func TestAlarm(t *testing.T) {
	const day = 24 * time.Hour
	a := certtest.New(t)
	for _, tt := range []struct {
		life  time.Duration // one day of it has passed
		alarm bool
		want  string // each day: W for a warning, E for an error
	}{
		{44 * day, true, "..............................W......W.....WE."},
		{4 * day, true, "..WWE........................................."},
		{44 * day, false, strings.Repeat(".", 46)},
	} {
		var log strings.Builder
		clock := fakeclock.New()
		clock.Advance(time.Since(clock.Now())) // certtest issues them today
		pair := a.IssueUntil("one", "one.test", clock.Now().Add(tt.life-day+time.Hour))
		s := newServer(t, secure.Config{
			Files: secure.Files{Pairs: []secure.KeyPair{files(pair)}}, Alarm: tt.alarm, Now: clock.Now,
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		var got strings.Builder
		for range len(tt.want) {
			log.Reset()
			for range 2 {
				_ = s.Reread()
			}
			text := log.String()
			warned, failed := strings.Count(text, "about to expire"), strings.Count(text, "certificate has expired:")
			fmt.Fprint(&got, map[[2]int]string{{0, 0}: ".", {1, 0}: "W", {0, 1}: "E"}[[2]int{warned, failed}])
			clock.Advance(day)
		}
		if got.String() != tt.want {
			t.Errorf("%s: got\n%s, want\n%s", tt.life, got.String(), tt.want)
		}
		a.IssueUntil("one", "one.test", clock.Now().Add(5*day))
		log.Reset()
		if err := s.Reread(); err != nil || tt.alarm != strings.Contains(log.String(), "level=WARN") {
			t.Errorf("the next certificate: %v, %s", err, log.String())
		}
	}
}
