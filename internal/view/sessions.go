package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/human"
)

const (
	maxCell = 40 // characters of a text that a client chose
	idCell  = 48 // characters of a session's id: users copy it, so none is cut off
)

// Sessions writes a list of sessions, one row each, in one Write. It shows ages relative to now.
func Sessions(w io.Writer, l control.SessionList, now time.Time) error {
	rows := [][]string{{"USER", "SESSION", "CONNECTION", "NODE", "AGE", "SEEN", "PARAMETERS"}}
	for _, s := range l.Sessions {
		conn := ""
		if s.Connected {
			conn = s.Conn
		}
		rows = append(rows, []string{
			cell(s.User, maxCell), cell(s.ID, idCell), cell(conn, maxCell), cell(s.Node, maxCell),
			age(now, s.Created), age(now, s.Seen), parameters(s.Params),
		})
	}
	var b strings.Builder
	if len(l.Sessions) == 0 {
		b.WriteString("no sessions\n")
	} else {
		table(&b, rows, "llllrrl")
	}
	if l.More {
		fmt.Fprintf(&b, "\nthese are the first %d: there are more\n", len(l.Sessions))
	}
	if l.Degraded {
		fmt.Fprintf(&b, "\n%s does not answer: these are the sessions that this machine knows\n", l.Store)
	}
	for _, one := range l.Missing {
		fmt.Fprintf(&b, "\nmissing: %s\n", cell(oneLine(one), maxReason))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func age(now, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return human.Age(now.Sub(at).Seconds())
}

// cell returns a text that a client chose, quoted if it contains characters that could control a terminal.
func cell(s string, columns int) string {
	if s == "" {
		return "-"
	}
	if q := strconv.Quote(s); q != `"`+s+`"` {
		s = q
	}
	return human.Truncate(s, columns)
}

func parameters(params map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(params)) {
		list = append(list, cell(name, maxCell)+"="+cell(params[name], maxCell))
	}
	return strings.Join(list, " ")
}
