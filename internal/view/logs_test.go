package view

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTextLines(t *testing.T) {
	const at = "2026-01-02T15:04:05.678Z"
	clock := time.Date(2026, 1, 2, 15, 4, 5, 678e6, time.UTC).Local().Format("15:04:05.000")
	for _, tt := range []struct{ name, line, want string }{
		{
			"a usual line", `{"time":"` + at + `","level":"INFO","msg":"connection opened","worker":3,"conn":"00ab","n":1.50,"ok":true,"x":null}`,
			clock + " INF [3] connection opened conn=00ab n=1.50 ok=true x=null",
		},
		{"a line of the primary", `{"time":"` + at + `","level":"ERROR","msg":"m"}`, clock + " ERR [-] m"},
		{"groups", `{"level":"WARN","msg":"m","g":{"a":1,"h":{"b":"x y"}},"l":[1, 2]}`, `WRN [-] m g.a=1 g.h.b="x y" l="[1, 2]"`},
		{"a level of its own", `{"level":"DEBUG+2","msg":"m"}`, "DBG+2 [-] m"},
		{"fields of another kind", `{"time":"today","level":7,"msg":"m"}`, "INF [-] m time=today level=7"},
		{"lost lines", `{"lost":12,"worker":3}`, "WRN 12 lines lost (worker 3)"},
		{"one lost line", `{"lost":1}`, "WRN 1 line lost"},
		{"a line about what was lost", `{"msg":"m","lost":12}`, "INF [-] m lost=12"},
		{"no JSON", "panic: oh", "INF panic: oh"},
		{"no object", "[1]", "INF [1]"},
		{"half an object", `{"msg":"m"`, `INF {"msg":"m"`},
		{"escape sequences", `{"msg":"a\u001b[2Jb","k\u001b[1m":"v\u001b[0m\n"}`, `INF [-] a\x1b[2Jb k\x1b[1m="v\\x1b[0m\n"`},
		{"escape sequences in no JSON", "a\x1b[2Jb", `INF a\x1b[2Jb`},
		{"too many groups", strings.Repeat(`{"a":`, 12) + "1" + strings.Repeat("}", 12), `INF [-]  a.a.a.a.a.a.a.a.a="{\"a\":{\"a\":{\"a\":1}}}"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			show, err := TextLines(&b)
			if err != nil {
				t.Fatal(err)
			}
			if err := show([]byte(tt.line)); err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimSuffix(b.String(), "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// FuzzTextLines checks that every line becomes one line that cannot control a terminal.
func FuzzTextLines(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-02T15:04:05Z","level":"INFO","msg":"m","worker":1,"g":{"a":[1]}}`))
	f.Add([]byte("{\"\x1b\":\"\\u001b\"}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var b bytes.Buffer
		show, err := TextLines(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := show(line); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); strings.Count(got, "\n") != 1 || strings.ContainsAny(got, "\x1b\r\x07\x08") {
			t.Errorf("got %q, want one line without control characters", got)
		}
	})
}
