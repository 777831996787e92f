package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
)

// Filter selects lines of a log. The zero value selects all of them.
type Filter struct {
	User, Session, Conn string // values of these attributes; empty: any
	Worker              int    // value of the attribute worker; 0: any
	Level               string // the lowest: debug, info, warn or error; empty or unknown: any
}

// Match reports whether the filter selects a line of JSON. It compares the attributes user, session, conn, worker and
// level outside of groups, and treats numbers and strings alike. Only the zero value selects a line that is not a JSON
// object.
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

// plainText returns a JSON string without quotes, and any other value as it is.
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
