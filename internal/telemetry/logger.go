package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/lmittmann/tint"

	"github.com/expedite-go/expedite/internal/terminal"
)

// logTime is the format of times in text: people at a terminal know the date.
const logTime = "15:04:05.000"

// NewLogger returns a logger that writes lines to w. The format is text, json, or auto, which means text if w is a
// terminal and json otherwise. The level is debug, info, warn or error. An empty format means auto, an empty level
// info. Text is colored if w is a terminal and the environment has neither NO_COLOR nor TERM=dumb.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	least, err := ParseLevel(level)
	if err != nil {
		return nil, err
	}
	return NewLeveledLogger(w, format, least)
}

// NewLeveledLogger is like [NewLogger] with a level that may change.
func NewLeveledLogger(w io.Writer, format string, least slog.Leveler) (*slog.Logger, error) {
	if format == "" || format == "auto" {
		format = "json"
		if terminal.Is(w) {
			format = "text"
		}
	}
	switch format {
	case "text":
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: least, TimeFormat: logTime, NoColor: !terminal.HasColor(w), ReplaceAttr: harmless,
		})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least})), nil
	default:
		return nil, fmt.Errorf("telemetry: log-format %q: want auto, text or json", format)
	}
}

// ParseLevel parses debug, info, warn or error, in upper or lower case. An empty level is info. Unlike slog, it does
// not accept INFO+2.
func ParseLevel(level string) (slog.Level, error) {
	switch strings.ToLower(level) {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	default:
		return 0, fmt.Errorf("telemetry: log-level %q: want debug, info, warn or error", level)
	}
}

// harmless escapes control characters: clients choose some of what is logged, and tint passes escape sequences on to
// the terminal. It keeps newlines and tabs.
func harmless(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		if s := a.Value.String(); strings.ContainsFunc(s, isHarmful) {
			a.Value = slog.StringValue(shown(s))
		}
	case slog.KindAny:
		if s := fmt.Sprintf("%+v", a.Value.Any()); strings.ContainsFunc(s, isHarmful) {
			a.Value = slog.StringValue(shown(s))
		}
	}
	if strings.ContainsFunc(a.Key, isHarmful) {
		a.Key = shown(a.Key)
	}
	return a
}

func isHarmful(r rune) bool {
	return unicode.IsControl(r) && r != '\n' && r != '\t' || r == utf8.RuneError
}

// shown returns s with Go escape sequences in place of control characters.
func shown(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case !isHarmful(r):
			b.WriteRune(r)
		case r == utf8.RuneError:
			b.WriteString(strings.Trim(strconv.Quote(s[i:i+1]), `"`)) // usually a byte that is not UTF-8
		default:
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}
