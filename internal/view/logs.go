package view

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// maxGroups is how deep groups are nested before their text is shown as JSON.
const maxGroups = 8

// JSONLines returns a function that writes log lines to w as they are.
func JSONLines(w io.Writer) func([]byte) error {
	return func(line []byte) error {
		_, err := w.Write(append(line[:len(line):len(line)], '\n'))
		return err
	}
}

// TextLines returns a function that writes log lines to w as text: time, level, worker, message and attributes, with
// colors on a terminal.
func TextLines(w io.Writer) (func([]byte) error, error) {
	logger, err := telemetry.NewLogger(w, "text", "debug")
	if err != nil {
		return nil, err
	}
	return func(line []byte) error {
		return logger.Handler().Handle(context.Background(), parseLine(line))
	}, nil
}

// parseLine turns a log line back into a record. Text that is not a log line becomes the message.
func parseLine(line []byte) slog.Record {
	attrs, err := parseObject(line, 0)
	if err != nil {
		return slog.NewRecord(time.Time{}, slog.LevelInfo, human.Printable(string(line)), 0)
	}
	var at time.Time
	var level slog.Level
	message, worker := "", "-"
	rest := attrs[:0]
	for _, a := range attrs {
		text := a.Value.String()
		switch a.Key {
		case slog.TimeKey:
			if at, err = time.Parse(time.RFC3339Nano, text); err == nil {
				continue
			}
		case slog.LevelKey:
			if level.UnmarshalText([]byte(text)) == nil {
				continue
			}
		case slog.MessageKey:
			message = text
			continue
		case "worker":
			worker = text
			continue
		}
		rest = append(rest, a)
	}
	var lost control.LostLines
	if message == "" && json.Unmarshal(line, &lost) == nil && lost.Lost > 0 {
		return slog.NewRecord(time.Time{}, slog.LevelWarn, lostLines(lost), 0)
	}
	r := slog.NewRecord(at.Local(), level, fmt.Sprintf("[%s] %s", human.Printable(worker), human.Printable(message)), 0)
	if at.IsZero() {
		r.Time = at
	}
	r.AddAttrs(rest...)
	return r
}

// parseObject parses a JSON object and keeps the order of its fields. Objects in it become groups, up to maxGroups
// deep.
func parseObject(b []byte, depth int) ([]slog.Attr, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not an object: %v, %w", t, err)
	}
	var attrs []slog.Attr
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		attrs = append(attrs, slog.Attr{Key: human.Printable(key.(string)), Value: parseValue(raw, depth)})
	}
	_, err := d.Token()
	return attrs, err
}

// parseValue returns a JSON value as a log attribute.
func parseValue(raw json.RawMessage, depth int) slog.Value {
	if raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err == nil {
			return slog.StringValue(s)
		}
	}
	if raw[0] == '{' && depth < maxGroups {
		if attrs, err := parseObject(raw, depth+1); err == nil {
			return slog.GroupValue(attrs...)
		}
	}
	return slog.StringValue(string(raw))
}

// lostLines returns "12 lines lost (worker 3)".
func lostLines(l control.LostLines) string {
	s := human.Count(l.Lost, "line") + " lost"
	if l.Worker > 0 {
		s += fmt.Sprintf(" (worker %d)", l.Worker)
	}
	return s
}
