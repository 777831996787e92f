package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"
	"unicode"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// maxGroups is how deep groups are shown as such.
const maxGroups = 8

// jsonLines writes log lines as they are.
func jsonLines(w io.Writer) func([]byte) error {
	return func(line []byte) error {
		_, err := w.Write(append(line[:len(line):len(line)], '\n'))
		return err
	}
}

// textLines writes log lines for people, with colors on a terminal: time, level, worker, message and attributes.
func textLines(w io.Writer) (func([]byte) error, error) {
	logger, err := telemetry.NewLogger(w, "text", "debug")
	if err != nil {
		return nil, err
	}
	return func(line []byte) error {
		return logger.Handler().Handle(context.Background(), parseLine(line))
	}, nil
}

// parseLine makes a record of a log line again. What is no such line is its message.
func parseLine(line []byte) slog.Record {
	attrs, err := parseObject(line, 0)
	if err != nil {
		return slog.NewRecord(time.Time{}, slog.LevelInfo, printable(string(line)), 0)
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
		return slog.NewRecord(time.Time{}, slog.LevelWarn, lost.String(), 0)
	}
	r := slog.NewRecord(at.Local(), level, fmt.Sprintf("[%s] %s", printable(worker), printable(message)), 0)
	if at.IsZero() {
		r.Time = at
	}
	r.AddAttrs(rest...)
	return r
}

// parseObject reads a JSON object, in its order. Objects in it become groups, if they are not too deep in others.
func parseObject(b []byte, depth int) ([]slog.Attr, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("no object: %v, %w", t, err)
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
		attrs = append(attrs, slog.Attr{Key: printable(key.(string)), Value: parseValue(raw, depth)})
	}
	_, err := d.Token()
	return attrs, err
}

// parseValue is a value in JSON as a log shows it.
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

// printable is text with what could do something to a terminal as an escape sequence of Go.
func printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}
