package telemetry

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

func TestIsTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*os.File{"a file": file, "the null device": null, "nil": nil} {
		if IsTerminal(f) {
			t.Errorf("%s: got true, want false", name)
		}
	}
	_ = null.Close()
	_ = file.Close()
	if IsTerminal(file) {
		t.Error("a closed file: got true, want false")
	}
}
