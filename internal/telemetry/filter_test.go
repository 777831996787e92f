package telemetry

import "testing"

func TestMatch(t *testing.T) {
	const line = `{"time":"2026-01-01T00:00:00Z","level":"WARN","msg":"m","worker":3,"conn":"00ab","user":"alice","session":"s1","g":{"user":"eve"}}`
	for _, tt := range []struct {
		name string
		m    Filter
		line string
		want bool
	}{
		{"everything is wanted", Filter{}, line, true},
		{"everything, also what is no JSON", Filter{}, "panic: oh", true},
		{"user", Filter{User: "alice"}, line, true},
		{"another user", Filter{User: "bob"}, line, false},
		{"a user within a group", Filter{User: "eve"}, line, false},
		{"session", Filter{Session: "s1"}, line, true},
		{"another session", Filter{Session: "s"}, line, false},
		{"conn", Filter{Conn: "00ab"}, line, true},
		{"conn, a number", Filter{Conn: "7"}, `{"conn":7}`, true},
		{"another conn", Filter{Conn: "00AB"}, line, false},
		{"worker", Filter{Worker: 3}, line, true},
		{"worker, a string", Filter{Worker: 3}, `{"worker":"3"}`, true},
		{"another worker", Filter{Worker: 2}, line, false},
		{"no worker", Filter{Worker: 3}, `{"msg":"m"}`, false},
		{"its level", Filter{Level: "warn"}, line, true},
		{"a lower level", Filter{Level: "DEBUG"}, line, true},
		{"a higher level", Filter{Level: "error"}, line, false},
		{"a level with an offset", Filter{Level: "warn"}, `{"level":"INFO+3"}`, false},
		{"a level that is none", Filter{Level: "loud"}, line, true},
		{"a line without a level", Filter{Level: "debug"}, `{"msg":"m"}`, false},
		{"a line with a level of its own", Filter{User: "a"}, `{"level":"TRACE","user":"a"}`, true},
		{"all together", Filter{"alice", "s1", "00ab", 3, "info"}, line, true},
		{"all but one", Filter{"alice", "s1", "00ab", 4, "info"}, line, false},
		{"characters that JSON escapes", Filter{User: "a\"é\n"}, `{"user":"a\"\u00e9\n"}`, true},
		{"null", Filter{User: "null"}, `{"user":"null"}`, true},
		{"no JSON", Filter{User: "alice"}, "alice", false},
		{"no object", Filter{User: "alice"}, `["alice"]`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.m.Match([]byte(tt.line)); got != tt.want {
				t.Errorf("got %t, want %t", got, tt.want)
			}
		})
	}
}

func FuzzMatch(f *testing.F) {
	f.Add([]byte(`{"user":"alice","level":"INFO"}`), "alice", "info")
	f.Fuzz(func(t *testing.T, line []byte, user, level string) {
		if !(Filter{}).Match(line) {
			t.Error("the zero value does not keep it")
		}
		if (Filter{User: user, Level: level}).Match(line) && !(Filter{User: user}).Match(line) {
			t.Error("what is kept by two is not kept by one of them")
		}
	})
}
