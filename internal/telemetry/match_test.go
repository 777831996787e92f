package telemetry

import "testing"

func TestMatch(t *testing.T) {
	const line = `{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"m","worker":3,"conn":"00ab","user":"alice","session":"s1","g":{"user":"eve"}}`
	for _, tt := range []struct {
		name string
		m    Match
		line string
		want bool
	}{
		{"everything is wanted", Match{}, line, true},
		{"everything, also what is no JSON", Match{}, "panic: oh", true},
		{"user", Match{User: "alice"}, line, true},
		{"another user", Match{User: "bob"}, line, false},
		{"a user within a group", Match{User: "eve"}, line, false},
		{"session", Match{Session: "s1"}, line, true},
		{"another session", Match{Session: "s"}, line, false},
		{"conn", Match{Conn: "00ab"}, line, true},
		{"conn, a number", Match{Conn: "7"}, `{"conn":7}`, true},
		{"another conn", Match{Conn: "00AB"}, line, false},
		{"worker", Match{Worker: 3}, line, true},
		{"worker, a string", Match{Worker: 3}, `{"worker":"3"}`, true},
		{"another worker", Match{Worker: 2}, line, false},
		{"no worker", Match{Worker: 3}, `{"msg":"m"}`, false},
		{"its level", Match{Level: "warn"}, line, true},
		{"a lower level", Match{Level: "DEBUG"}, line, true},
		{"a higher level", Match{Level: "error"}, line, false},
		{"a level with an offset", Match{Level: "warn"}, `{"level":"INFO+3"}`, false},
		{"a level that is none", Match{Level: "loud"}, line, true},
		{"a line without a level", Match{Level: "debug"}, `{"msg":"m"}`, false},
		{"a line with a level of its own", Match{User: "a"}, `{"level":"TRACE","user":"a"}`, true},
		{"all together", Match{"alice", "s1", "00ab", 3, "info"}, line, true},
		{"all but one", Match{"alice", "s1", "00ab", 4, "info"}, line, false},
		{"characters that JSON escapes", Match{User: "a\"é\n"}, `{"user":"a\"\u00e9\n"}`, true},
		{"null", Match{User: "null"}, `{"user":"null"}`, true},
		{"no JSON", Match{User: "alice"}, "alice", false},
		{"no object", Match{User: "alice"}, `["alice"]`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.m.Keep([]byte(tt.line)); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func FuzzMatch(f *testing.F) {
	f.Add([]byte(`{"user":"alice","level":"INFO"}`), "alice", "info")
	f.Fuzz(func(t *testing.T, line []byte, user, level string) {
		if !(Match{}).Keep(line) {
			t.Error("the zero value does not keep it")
		}
		if (Match{User: user, Level: level}).Keep(line) && !(Match{User: user}).Keep(line) {
			t.Error("what is kept by two is not kept by one of them")
		}
	})
}
