package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
)

// Filter says which lines of a log somebody wants. The zero value is all of them.
type Filter struct {
	User, Session, Conn string // these attributes have this value; empty: any
	Worker              int    // the attribute worker has this value; 0: any
	Level               string // the lowest: debug, info, warn or error. Empty, or none of these: any
}

// Match says whether a line in JSON is wanted. It looks at the attributes user, session, conn, worker and level at the
// top: those within a group do not count. Numbers and strings are alike. What is no JSON object is wanted only by the
// zero value.
func (m Filter) Match(line []byte) bool {
	if m == (Filter{}) {
		return true
	}
	var l struct {
		User    json.RawMessage `json:"user"`
		Session json.RawMessage `json:"session"`
		Conn    json.RawMessage `json:"conn"`
		Worker  json.RawMessage `json:"worker"`
		Level   json.RawMessage `json:"level"`
	}
	if err := json.Unmarshal(line, &l); err != nil {
		return false
	}
	for _, p := range []struct {
		want string
		got  json.RawMessage
	}{{m.User, l.User}, {m.Session, l.Session}, {m.Conn, l.Conn}} {
		if p.want != "" && plainText(p.got) != p.want {
			return false
		}
	}
	if m.Worker != 0 && plainText(l.Worker) != strconv.Itoa(m.Worker) {
		return false
	}
	least, err := ParseLevel(m.Level)
	if m.Level == "" || err != nil {
		return true
	}
	var level slog.Level
	return level.UnmarshalText([]byte(plainText(l.Level))) == nil && level >= least
}

// plainText is a string in JSON without its quotes, or anything else as it is.
func plainText(raw json.RawMessage) string {
	if !bytes.HasPrefix(raw, []byte(`"`)) {
		return string(raw)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return ""
	}
	return s
}
