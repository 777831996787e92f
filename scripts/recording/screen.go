//go:build linux

package main

import (
	"strings"
	"time"
	"unicode/utf8"
)

// screen is what a terminal shows: lines, and the one that is being written. It knows what expedite writes to
// terminals: carriage returns, line feeds, clearing to the end of the line, and colors, which it leaves out.
type screen struct {
	columns int
	lines   [][]rune
	column  int
	rest    []byte // the beginning of a character or of a sequence
	changes []change
}

// change is a new text of a line.
type change struct {
	at   time.Duration
	line int
	text string
}

func newScreen(columns int) *screen { return &screen{columns: columns, lines: [][]rune{nil}} }

// write shows text that was written at a time, and notes what has changed.
func (s *screen) write(at time.Duration, text []byte) {
	before := make(map[int]string)
	touch := func() {
		if last := len(s.lines) - 1; before[last] == "" {
			before[last] = string(s.lines[last])
		}
	}
	first := len(s.lines) - 1
	touch()
	text = append(s.rest, text...)
	s.rest = nil
	for len(text) > 0 {
		n := s.step(text, touch)
		if n == 0 {
			s.rest = text
			break
		}
		text = text[n:]
	}
	for i := first; i < len(s.lines); i++ {
		if now := string(s.lines[i]); now != before[i] {
			s.changes = append(s.changes, change{at, i, now})
		}
	}
}

// step handles the first character or sequence of text and returns its length, or 0 if it is not complete.
func (s *screen) step(text []byte, touch func()) int {
	last := len(s.lines) - 1
	switch text[0] {
	case '\r':
		s.column = 0
		return 1
	case '\n':
		s.lines, s.column = append(s.lines, nil), 0
		touch()
		return 1
	case '\x1b':
		return s.escape(string(text))
	}
	if !utf8.FullRune(text) {
		return 0
	}
	r, n := utf8.DecodeRune(text)
	if s.column == s.columns {
		s.lines, s.column = append(s.lines, nil), 0
		last++
		touch()
	}
	for len(s.lines[last]) <= s.column {
		s.lines[last] = append(s.lines[last], ' ')
	}
	s.lines[last][s.column] = r
	s.column++
	return n
}

// escape handles a sequence ESC [ … letter.
func (s *screen) escape(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
	if end < 0 {
		return 0
	}
	if last := len(s.lines) - 1; text[end] == 'K' && s.column < len(s.lines[last]) {
		s.lines[last] = s.lines[last][:s.column]
	}
	return end + 1
}

// text returns everything that is on the screen.
func (s *screen) text() string {
	var b strings.Builder
	for _, line := range s.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return b.String()
}
