package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/lmittmann/tint"
)

// logTime is the time in text logs: people at a terminal know the day.
const logTime = "15:04:05.000"

// NewLogger makes a logger that writes lines to w. The format is text, json, or auto: text if w is a terminal. The
// level is debug, info, warn or error. An empty format is auto, an empty level info. Text has colors if w is a terminal
// and neither NO_COLOR nor TERM=dumb is in the environment.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	least, err := parseLevel(level)
	if err != nil {
		return nil, err
	}
	file, ok := w.(*os.File)
	terminal := ok && IsTerminal(file)
	if format == "" || format == "auto" {
		format = "json"
		if terminal {
			format = "text"
		}
	}
	switch format {
	case "text":
		plain := !terminal || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb"
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: least, TimeFormat: logTime, NoColor: plain})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least})), nil
	default:
		return nil, fmt.Errorf("telemetry: log-format %q: want auto, text or json", format)
	}
}

// parseLevel is stricter than slog's, which knows INFO+2.
func parseLevel(level string) (slog.Level, error) {
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
