package redisplane

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/redistest"
)

// repliesOf returns answers of a real server.
func repliesOf(t *testing.T, texts map[string]string) map[string]rueidis.RedisResult {
	t.Helper()
	server := redistest.Start(t)
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr()}, ForceSingleClient: true, DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	list := make(map[string]rueidis.RedisResult)
	for name, text := range texts {
		script := "return redis.error_reply(ARGV[1])"
		switch text {
		case "":
			script = "return 1"
		case "placed":
			script = "return '5 7'"
		}
		list[name] = c.Do(t.Context(), c.B().Eval().Script(script).Numkeys(0).Arg(text).Build())
	}
	return list
}

// TestJudge: what has failed is sent again, with what follows it on its channel, and what never passes is dropped.
func TestJudge(t *testing.T) {
	answers := repliesOf(t, map[string]string{
		"ok":    "",
		"at7":   "placed",
		"down":  "CLUSTERDOWN The cluster is down",
		"moved": "MOVED 5 10.0.0.1:7000",
		"large": "ERR Protocol error: invalid bulk length",
		"perm":  "NOPERM this user has no permissions to access one of the channels used as arguments",
		"order": "EXPEDITE order",
		"nosc":  "NOSCRIPT No matching script. Please use EVAL.",
		"full":  "OOM command not allowed when used memory > 'maxmemory'.",
		"wrong": "WRONGTYPE Operation against a key holding the wrong kind of value",
		"try":   "TRYAGAIN Multiple keys request during rehashing of slot",
		"ask":   "ASK 5 10.0.0.1:7000",
		"run":   "NOPERM this user has no permissions to run the 'publish' command",
	})
	answers["lost"] = rueidis.NewErrorResult(errors.New("the connection is lost"))
	for _, tt := range []struct {
		name, batch string // channel and answer of each message; channels in capitals are of appended ones
		again       string // channels of what is sent again, with an exclamation mark if it may arrive twice
		parked      string // channels
		told        string // offsets
		dropped     int
		moved       string
		lost        bool
	}{
		{name: "all are taken", batch: "a:ok b:ok"},
		{name: "a loss", batch: "a:ok b:lost c:lost", again: "b! c!", lost: true},
		{name: "the order of a channel", batch: "a:down b:ok a:ok", again: "a a!"},
		{name: "a slot that has moved", batch: "a:ok a:moved b:ok a:moved", again: "a a", moved: "10.0.0.1:7000"},
		{name: "never", batch: "a:large b:perm c:ok", dropped: 2},
		{name: "never, and a loss", batch: "a:large a:lost", again: "a!", dropped: 1, lost: true},
		{name: "no permission at all", batch: "a:run", again: "a"},
		{name: "positions", batch: "A:at7 b:ok B:at7", told: "7 7"},
		{name: "an unknown script", batch: "A:nosc A:order B:at7", again: "A A", told: "7"},
		{name: "one that fails for now", batch: "A:down A:order", again: "A A"},
		{name: "a full server", batch: "A:full A:order B:full c:ok B:at7", parked: "A A B", told: "7"},
		{name: "a slot that moves", batch: "A:try A:order B:at7 c:ok A:ask", parked: "A A A", told: "7"},
		{name: "a slot that moves after an unknown script", batch: "A:nosc A:try", again: "A A"},
		{name: "a published one after that", batch: "a:ok A:full", parked: "A"},
		{name: "never, appended", batch: "A:wrong A:order B:at7", again: "A", told: "0 7", dropped: 1},
		{name: "a loss, appended", batch: "A:at7 A:lost B:lost", again: "A! B!", told: "7", lost: true},
		{name: "never, after what fails for now", batch: "a:down a:perm a:ok", again: "a a!", dropped: 1},
	} {
		var batch []message
		var results []rueidis.RedisResult
		for _, one := range strings.Fields(tt.batch) {
			channel, answer, _ := strings.Cut(one, ":")
			m := message{channel: channel}
			if channel < "a" {
				m.call = new(appending)
			}
			batch = append(batch, m)
			results = append(results, answers[answer])
		}
		o := judge(batch, results)
		var again []string
		for _, m := range o.again {
			mark := ""
			if m.tried {
				mark = "!"
			}
			again = append(again, m.channel+mark)
		}
		got := strings.Join(again, " ")
		var parked, offsets []string
		for _, m := range o.parked {
			parked = append(parked, m.channel)
		}
		for _, one := range o.told {
			offsets = append(offsets, strconv.FormatUint(one.at.Offset, 10))
			if (one.err == nil) != (one.at.Epoch == 5) || one.err != nil && !errors.Is(one.err, backplane.ErrRefused) {
				t.Errorf("%s: told %+v", tt.name, one)
			}
		}
		if strings.Join(parked, " ") != tt.parked || strings.Join(offsets, " ") != tt.told {
			t.Errorf("%s: got %q parked, offsets %q", tt.name, parked, offsets)
		}
		if got != tt.again || o.dropped != tt.dropped || o.moved != tt.moved || o.lost != tt.lost {
			t.Errorf("%s: got %q again, %d dropped, moved %q, lost %v", tt.name, got, o.dropped, o.moved, o.lost)
		}
		atOnce := o.noScript || strings.Contains(tt.batch, "order") && o.moved == "" && !strings.Contains(tt.batch, "down")
		if (o.err == nil) != (tt.again == "" || atOnce) || (o.parkErr == nil) != (tt.parked == "") || (o.dropErr == nil) != (tt.dropped == 0) {
			t.Errorf("%s: got errors %v, %v", tt.name, o.err, o.dropErr)
		}
	}
}
