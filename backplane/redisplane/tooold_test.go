package redisplane_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// TestHistoryTooOld: a read does not walk over all that a stream still has but that is too old. It finds what is not.
func TestHistoryTooOld(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := start(t, redisplane.Config{}, server.URL())
	m.healthy()
	const old, fresh = 50_000, 3
	server.Do("EVAL", `
local time = redis.call('TIME')[1]
for i = 1, ARGV[1] + ARGV[2] do
  local at = i > ARGV[1] + 0 and time or time - 7200
  redis.call('XADD', KEYS[1], i .. '-' .. at .. '000', 'm', i)
end
redis.call('HSET', KEYS[2], 'e', 5, 'o', ARGV[1] + ARGV[2])`, "2",
		"expedite:history:{expedite:0:t}:s", "expedite:history:{expedite:0:t}:m", strconv.Itoa(old), strconv.Itoa(fresh))
	server.Do("CONFIG", "RESETSTAT")
	p := m.read("t")
	if p.Epoch != 5 || p.Head != old+fresh || len(p.Entries) != fresh || p.Entries[0].Offset != old+1 {
		t.Errorf("got epoch %d, head %d and %d entries", p.Epoch, p.Head, len(p.Entries))
	}
	_, stats, _ := strings.Cut(server.Do("INFO", "commandstats"), "cmdstat_xrange:calls=")
	stats, _, _ = strings.Cut(stats, ",")
	if calls, err := strconv.Atoi(stats); err != nil || calls > 40 {
		t.Errorf("got %q calls of XRANGE, want 40 at most", stats)
	}
}
