package telemetry

import "strings"

// named finds values after the name of a secret: token=… and token%3D…, "token":"…", and Cookie: ….
func (n *secretNames) named(s string, found *spans) {
	for i := 0; i < len(s) && !found.full; i++ {
		switch s[i] {
		case '=':
			if n.find(nameBefore(s, strings.TrimSuffix(s[:i], " "))) != nil {
				found.add(assigned(s, i+1))
			}
		case '%':
			if i+2 < len(s) && s[i+1] == '3' && s[i+2]|0x20 == 'd' && n.find(nameBefore(s, s[:i])) != nil {
				found.add(assigned(s, i+3))
			}
		case ':':
			n.colon(s, i, found)
		}
	}
}

// colon finds the value after the colon at i.
func (n *secretNames) colon(s string, i int, found *spans) {
	bare := strings.TrimRight(strings.TrimSuffix(strings.TrimSuffix(s[:i], `"`), `'`), `\`)
	name := nameBefore(s, bare)
	secret := n.find(name)
	if secret == nil {
		return
	}
	from := i + 1
	for from < len(s) && s[from] == ' ' {
		from++
	}
	switch {
	case len(bare) < i: // JSON
		found.add(jsonValue(s, from))
	case secret.line:
		found.add(lineValue(s, from))
	case from > i+1 && (!secret.prose || strings.ContainsAny(name, "-_")): // of another header field, or of YAML
		found.add(assigned(s, from))
	}
}

// printed reports whether a composite value that was printed with %+v has a field or key with the name of a secret and
// a value that is not empty.
func (n *secretNames) printed(s string) bool {
	for i := range len(s) {
		if s[i] != ':' || n.find(nameBefore(s, s[:i])) == nil {
			continue
		}
		rest := s[i+1:]
		switch {
		case rest == "", strings.IndexByte(" }])", rest[0]) >= 0: // empty
		case hasPrefix(rest, "<nil>", "[]", "map[]", "false", "true", redacted):
		default:
			return true
		}
	}
	return false
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// nameBefore returns the name at the end of head, which is a prefix of s.
func nameBefore(s, head string) string {
	end := len(head)
	from := end
	for from > 0 && end-from < maxName && isNameByte(s[from-1]) {
		from--
	}
	// The end of %3F or of \u0026 is not the beginning of the name.
	switch {
	case from == 0 || from+2 > end:
	case s[from-1] == '%':
		from += 2
	case s[from-1] == '\\' && s[from] == 'u':
		from = min(from+5, end)
	}
	return s[from:end]
}

func isNameByte(c byte) bool { return isWord(c) || c == '-' || c == '_' || c == '.' }

// assigned returns the value that begins at i: up to the closing quote, or up to the end of a value in a query or a
// word in a sentence. An authentication scheme is part of the value.
func assigned(s string, i int) (text string, from, to int) {
	if i < len(s) && s[i] == ' ' {
		i++
	}
	if from, to, ok := quoted(s, i); ok {
		return s, from, to
	}
	to = i + wordLen(s[i:])
	if to < len(s) && s[to] == ' ' && isScheme(s[i:to]) {
		to++
		to += wordLen(s[to:])
	}
	return s, i, to
}

func isScheme(s string) bool {
	for _, scheme := range []string{"bearer", "basic", "digest", "negotiate", "token", "apikey"} {
		if strings.EqualFold(s, scheme) {
			return true
		}
	}
	return false
}

// wordLen returns the length of the value in a query, or of the word in a sentence, that s begins with.
func wordLen(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case c <= ' ', c == '&', c == ';', c == '"', c == '\'', c == '`', c == '<', c == '>', c == '\\':
			return i
		}
	}
	return len(s)
}

// quoted is what the quotes hold that begin at i. They may stand within others: then backslashes come first.
func quoted(s string, i int) (from, to int, ok bool) {
	from = i
	for from < len(s) && s[from] == '\\' {
		from++
	}
	escapes := from - i
	if from == len(s) || (s[from] != '"' && s[from] != '\'' && s[from] != '`') {
		return 0, 0, false
	}
	quote := s[from]
	from++
	before := 0 // backslashes
	for to = from; to < len(s); to++ {
		switch {
		case s[to] == '\\':
			before++
			continue
		case s[to] == quote && (before == escapes || (escapes == 0 && before%2 == 0)):
			return from, to - before, true
		}
		before = 0
	}
	return from, len(s), true
}

// jsonValue returns the JSON value that begins at i. True, false and null are not secrets.
func jsonValue(s string, i int) (text string, from, to int) {
	if from, to, ok := quoted(s, i); ok {
		return s, from, to
	}
	depth := 0
	for to = i; to < len(s); to++ {
		switch c := s[to]; {
		case c == '[' || c == '{':
			depth++
			continue
		case depth > 0 && (c == '"' || c == '\\'): // a string within
			if _, end, ok := quoted(s, to); ok {
				to = end
				for to < len(s) && s[to] == '\\' {
					to++
				}
			}
			continue
		case c == ']' || c == '}':
			depth--
		case depth > 0 || (c != ',' && c > ' '):
			continue
		}
		if depth == 0 && (s[to] == ']' || s[to] == '}') {
			to++ // it is part of the value
		}
		if depth <= 0 {
			break
		}
	}
	to = min(to, len(s))
	switch s[i:to] {
	case "true", "false", "null", "[]", "{}":
		return s, i, i
	}
	return s, i, to
}

// lineValue returns the text from i to the end of the line, or to the closing quote if the line is quoted.
func lineValue(s string, i int) (text string, from, to int) {
	if from, to, ok := quoted(s, i); ok {
		return s, from, to
	}
	to = len(s)
	if end := strings.IndexAny(s[i:], "\r\n\"`\\"); end >= 0 {
		to = i + end
	}
	return s, i, to
}
