package route

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
)

// maxPattern is the length in bytes of the longest pattern, and with it the limit of its segments.
const maxPattern = 1024

// Pattern is a parsed pattern. It is never changed.
type Pattern struct {
	text     string
	segments []segment
	names    []string
}

// segment is a part of a pattern between two slashes.
type segment struct {
	text string // decoded literal, which is empty after a slash at the end; or the name of the wildcard
	kind kind
}

// kind is what a segment matches.
type kind uint8

const (
	literal  kind = iota
	wildcard      // one segment that is not empty
	rest          // all segments that are left, at least one, which may be empty
)

// Parse parses a pattern. Its errors tell the offset of the fault.
func Parse(text string) (*Pattern, error) {
	switch {
	case !strings.HasPrefix(text, "/"):
		return nil, errors.New("a pattern begins with /, and has no method and no host")
	case len(text) > maxPattern:
		return nil, fmt.Errorf("the pattern has %d bytes: want at most %d", len(text), maxPattern)
	}
	p := &Pattern{text: text}
	for at := 1; at <= len(text); {
		part, _, more := strings.Cut(text[at:], "/")
		s, err := parseSegment(part, !more)
		if err == nil && s.kind != literal && slices.Contains(p.names, s.text) {
			err = fmt.Errorf("the wildcard %q appears twice", s.text)
		}
		if err != nil {
			return nil, fmt.Errorf("at offset %d: %w", at, err)
		}
		p.segments = append(p.segments, s)
		if s.kind != literal {
			p.names = append(p.names, s.text)
		}
		at += len(part) + 1
	}
	return p, nil
}

// parseSegment parses the part of a pattern between two slashes.
func parseSegment(part string, last bool) (segment, error) {
	open := strings.IndexByte(part, '{')
	if open < 0 {
		return parseLiteral(part, last)
	}
	switch {
	case open > 0:
		return segment{}, errors.New("a wildcard is a whole segment: want / before {")
	case !strings.HasSuffix(part, "}"):
		return segment{}, errors.New("a wildcard is a whole segment: want } at its end")
	}
	name := part[1 : len(part)-1]
	if name == "$" {
		if !last {
			return segment{}, errors.New("{$} is only allowed at the end")
		}
		return segment{}, nil
	}
	s := segment{text: name, kind: wildcard}
	if before, multi := strings.CutSuffix(name, "..."); multi {
		s = segment{text: before, kind: rest}
	}
	switch {
	case !isName(s.text):
		return segment{}, fmt.Errorf("%q is not a name of a wildcard: want letters, digits and _, and no digit first", s.text)
	case s.kind == rest && !last:
		return segment{}, fmt.Errorf("{%s...} is only allowed at the end", s.text)
	}
	return s, nil
}

// parseLiteral parses a segment without a wildcard.
func parseLiteral(part string, last bool) (segment, error) {
	text, err := url.PathUnescape(part)
	switch {
	case err != nil:
		return segment{}, fmt.Errorf("bad percent-encoding in %q", part)
	case isDots(text), text == "" && !last:
		return segment{}, fmt.Errorf("the segment %q never matches, because paths are not cleaned", part)
	}
	return segment{text: text}, nil
}

// isName reports whether a wildcard may have this name: it must be a Go identifier.
func isName(s string) bool {
	for i, c := range s {
		if !unicode.IsLetter(c) && c != '_' && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != ""
}

func isDots(s string) bool { return s == "." || s == ".." }

// String returns the pattern as it was parsed.
func (p *Pattern) String() string { return p.text }

// Names returns the names of the wildcards, in order. The slice belongs to the pattern.
func (p *Pattern) Names() []string { return p.names }

// Shape returns the pattern without the names of its wildcards. Two patterns that match the same paths have the same
// shape.
func (p *Pattern) Shape() string {
	var b strings.Builder
	for _, s := range p.segments {
		b.WriteByte('/')
		switch s.kind {
		case wildcard:
			b.WriteString("{}")
		case rest:
			b.WriteString("{...}")
		default:
			b.WriteString(url.PathEscape(s.text))
		}
	}
	return b.String()
}

// Values returns the decoded values of the wildcards, in the order of Names, for a path that the pattern matches; else
// nil.
func (p *Pattern) Values(path string) []string {
	if len(p.names) == 0 || !clean(path) {
		return nil
	}
	values := make([]string, 0, len(p.names))
	for _, s := range p.segments {
		if path == "" {
			return nil
		}
		if s.kind == rest {
			return append(values, strings.Clone(unescape(path[1:])))
		}
		var text string
		text, path = cut(path)
		switch {
		case s.kind == literal && text != s.text, s.kind == wildcard && text == "":
			return nil
		case s.kind == wildcard:
			values = append(values, strings.Clone(text))
		}
	}
	if path != "" {
		return nil
	}
	return values
}

// cut returns the first segment of a path, decoded, and the rest, which is empty or begins with a slash.
func cut(path string) (text, after string) {
	path = path[1:]
	end := strings.IndexByte(path, '/')
	if end < 0 {
		end = len(path)
	}
	return unescape(path[:end]), path[end:]
}

// unescape decodes a segment. The path was checked when its request was parsed; what is not valid is kept as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	decoded, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return decoded
}

// clean reports whether a path can match anything: it has no dot segments, and no empty ones before its end.
func clean(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for after := path; after != ""; {
		var text string
		text, after = cut(after)
		if isDots(text) || (text == "" && after != "") {
			return false
		}
	}
	return true
}
