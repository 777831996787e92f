package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/lmittmann/tint"
)

func TestLoggerFormat(t *testing.T) {
	for _, tt := range []struct {
		name, format string
		json         bool
	}{
		{"auto is json where nobody watches", "auto", true},
		{"nothing is auto", "", true},
		{"json", "json", true},
		{"text", "text", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			log, err := NewLogger(&b, tt.format, "info")
			if err != nil {
				t.Fatal(err)
			}
			log.Info("hello", "worker", 3)
			var line struct {
				Msg    string
				Worker int
			}
			err = json.Unmarshal(b.Bytes(), &line)
			if (err == nil) != tt.json {
				t.Fatalf("got %q, want JSON: %t", b.String(), tt.json)
			}
			if tt.json && (line.Msg != "hello" || line.Worker != 3) {
				t.Errorf("got %+v", line)
			}
			if !tt.json && !strings.Contains(b.String(), "hello worker=3") {
				t.Errorf("got %q, want the message and its attribute", b.String())
			}
			if strings.Contains(b.String(), "\x1b") {
				t.Errorf("got %q: colors where there is no terminal", b.String())
			}
		})
	}
}

// TestTextIsHarmless checks that clients cannot control a terminal, with and without colors.
func TestTextIsHarmless(t *testing.T) {
	const harm = "a\x1b]0;title\x07b\u009bc\xffd\re\x00"
	for _, plain := range []bool{false, true} {
		var b bytes.Buffer
		log := slog.New(tint.NewTextHandler(&b, &tint.Options{NoColor: plain, ReplaceAttr: harmless}))
		log.With(harm, harm).Info(harm, "s", harm, "e", errors.New(harm), "l", []string{harm}, slog.Group("g", "s", harm, harm, 1))
		got := b.String()
		for _, color := range []string{"\x1b[0m", "\x1b[2m", "\x1b[22m", "\x1b[92m", "\x1b[2;91m", "\x1b[22;2m"} {
			got = strings.ReplaceAll(got, color, "") // codes of tint
		}
		if plain && got != b.String() || strings.ContainsAny(got, "\x1b\x07\u009b\r\x00") || !utf8.ValidString(got) {
			t.Errorf("got %q", got)
		}
		if n := strings.Count(got, `title\x07b`) + strings.Count(got, `title\\x07b`) + strings.Count(got, `title\ab`) + strings.Count(got, `title\\ab`); n < 8 {
			t.Errorf("got %q, want all of the text, 8 times", got)
		}
	}
	var b bytes.Buffer
	log, err := NewLogger(&b, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("one\n\ttwo", "a", "b\nc")
	if !strings.Contains(b.String(), "one\n\ttwo a=\"b\\nc\"") {
		t.Errorf("got %q, want the lines of the message", b.String())
	}
}

func TestLoggerLevel(t *testing.T) {
	for _, tt := range []struct{ level, want string }{
		{"debug", "dwie"}, {"info", "wie"}, {"", "wie"}, {"warn", "we"}, {"WARN", "we"}, {"error", "e"},
	} {
		t.Run(tt.level, func(t *testing.T) {
			var b bytes.Buffer
			log, err := NewLogger(&b, "json", tt.level)
			if err != nil {
				t.Fatal(err)
			}
			log.Debug("d")
			log.Warn("w")
			log.Info("i")
			log.Error("e")
			var got string
			for d := json.NewDecoder(&b); d.More(); {
				var line struct{ Msg string }
				if err := d.Decode(&line); err != nil {
					t.Fatal(err)
				}
				got += line.Msg
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLoggerRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, format, level string
		want                []string
	}{
		{"an unknown format", "xml", "info", []string{"log-format", `"xml"`, "auto, text or json"}},
		{"an unknown level", "json", "loud", []string{"log-level", `"loud"`, "debug, info, warn or error"}},
		{"slog's arithmetic", "json", "info+2", []string{"log-level", "info+2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log, err := NewLogger(&bytes.Buffer{}, tt.format, tt.level)
			if err == nil || log != nil {
				t.Fatalf("got %v, %v, want an error", log, err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %q, want it to say %q", err, w)
				}
			}
		})
	}
}
