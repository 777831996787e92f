package telemetry

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxName      = 64      // bytes at the end of a name that are compared
	maxAuthority = 1 << 10 // bytes between the scheme of a URL and its @
	maxSpans     = 64      // secrets in one text; everything after the last one is redacted, too
)

// secretNames contains the names of secrets, and finds secrets in text. It is immutable.
type secretNames struct {
	byEnd [256][]secretName
}

// clientSecrets are further names of secrets that clients send. In log lines they have other meanings: session is a
// hash there.
var clientSecrets = [...]string{
	"session", "session_id", "sid", "jwt", "credential", "credentials", "passphrase", "pwd", "otp", "signature", "sig",
}

// Secrets removes secrets from what clients send: query parameters and header fields. It is safe for concurrent use.
type Secrets struct{ names *secretNames }

// NewSecrets returns a Secrets with the names of NewRedactor, those that clients use for secrets, and more.
func NewSecrets(more ...string) *Secrets {
	return &Secrets{newSecretNames(slices.Concat(clientSecrets[:], more))}
}

// Value returns the value of a parameter or header field without secrets.
func (s *Secrets) Value(name, value string) string {
	if value != "" && s.names.match(name) {
		return redacted
	}
	value, _ = s.names.clean(value)
	return value
}

// secretName is a name in lower case, without hyphens and underscores.
type secretName struct {
	text string
	// word is set if the name must be a word of its own: apiKey and api_key, but not monkey.
	word bool
	// line is set if the value in a header field extends to the end of the line.
	line bool
	// prose is set if text after the name and a colon is usually about the secret: "bad token: expired".
	prose bool
}

func newSecretNames(more []string) *secretNames {
	n := &secretNames{}
	for _, s := range []secretName{
		{text: "token", prose: true},
		{text: "ticket", word: true, prose: true},
		{text: "key", word: true, prose: true},
		{text: "apikey"},
		{text: "secret"},
		{text: "password"},
		{text: "passwd"},
		{text: "authsignature"},
		{text: "authorization", line: true},
		{text: "cookie", line: true},
	} {
		n.add(s)
	}
	for _, name := range more {
		var buf [maxName]byte
		if size, _ := canonical(name, &buf); size > 0 {
			n.add(secretName{text: string(buf[:size]), word: true, prose: true})
		}
	}
	return n
}

func (n *secretNames) add(s secretName) {
	end := s.text[len(s.text)-1]
	n.byEnd[end] = append(n.byEnd[end], s)
}

// match reports whether a name is that of a secret.
func (n *secretNames) match(name string) bool { return n.find(name) != nil }

// find returns the name of a secret that the name ends with, or nil.
func (n *secretNames) find(name string) *secretName {
	if name == "" || len(n.byEnd[name[len(name)-1]|0x20]) == 0 { // |0x20 turns letters into lower case
		return nil
	}
	var buf [maxName]byte
	size, starts := canonical(name, &buf)
	if size == 0 {
		return nil
	}
	list := n.byEnd[buf[size-1]]
	for i := range list {
		s := &list[i]
		at := size - len(s.text)
		if at >= 0 && string(buf[at:size]) == s.text && (!s.word || starts>>at&1 == 1) {
			return s
		}
	}
	return nil
}

// canonical writes the end of a name to buf, in lower case and without hyphens and underscores. Bit i of starts is set
// if a word begins at buf[i].
func canonical(name string, buf *[maxName]byte) (size int, starts uint64) {
	before := byte('-')
	if len(name) > maxName {
		before = 'a'
		name = name[len(name)-maxName:]
	}
	for i := range len(name) {
		c := name[i]
		if c == '-' || c == '_' {
			before = c
			continue
		}
		if !isWord(before) || (isUpper(c) && !isUpper(before)) {
			starts |= 1 << size
		}
		before = c
		if isUpper(c) {
			c |= 0x20
		}
		buf[size] = c
		size++
	}
	return size, starts
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

func isWord(c byte) bool { return isUpper(c) || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// span is a part of a text.
type span struct{ from, to int }

// spans are the secrets in a text, in any order; they may overlap.
type spans struct {
	list []span
	full bool // there are more: the last one extends to the end of the text
}

// add adds a secret, unless it is empty or redacted already.
func (p *spans) add(s string, from, to int) {
	if p.full || from >= to || s[from:to] == redacted {
		return
	}
	if len(p.list) == maxSpans-1 {
		p.full, to = true, len(s)
	}
	p.list = append(p.list, span{from, to})
}

// clean returns s without secrets, and reports whether there were any.
func (n *secretNames) clean(s string) (string, bool) {
	clue := cluesOf(s)
	if clue == 0 {
		return s, false
	}
	var found spans
	if clue&clueName != 0 {
		n.named(s, &found)
	}
	if clue&clueBearer != 0 {
		bearers(s, &found)
	}
	if clue&clueJWT != 0 {
		webTokens(s, &found)
	}
	if clue&clueName != 0 { // a URL has a colon
		passwords(s, &found)
	}
	if len(found.list) == 0 {
		return s, false
	}
	return without(s, found.list), true
}

// without returns s with each span replaced by redacted.
func without(s string, list []span) string {
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var b strings.Builder
	at := 0
	for i := 0; i < len(list); {
		from, to := list[i].from, list[i].to
		for i++; i < len(list) && list[i].from <= to; i++ {
			to = max(to, list[i].to)
		}
		b.WriteString(s[at:from])
		b.WriteString(redacted)
		at = to
	}
	b.WriteString(s[at:])
	return b.String()
}

// clues is what a text contains that is worth a closer look.
type clues int

const (
	clueName   clues = 1 << iota // = or :, or %3D
	clueBearer                   // be
	clueJWT                      // ey
)

// cluesOf looks at each byte once: most texts contain no secrets.
func cluesOf(s string) (c clues) {
	for i := range len(s) {
		switch s[i] {
		case '=', ':':
			c |= clueName
		case '%':
			if i+2 < len(s) && s[i+1] == '3' && s[i+2]|0x20 == 'd' {
				c |= clueName
			}
		case 'e', 'E':
			if i > 0 && s[i-1]|0x20 == 'b' {
				c |= clueBearer
			}
			if i+2 < len(s) && s[i+1] == 'y' && s[i+2] == 'J' {
				c |= clueJWT
			}
		}
	}
	return c
}

// bearers finds what follows the word bearer, in a header field and in a subprotocol.
func bearers(s string, found *spans) {
	const word = "bearer"
	for i := 0; i+len(word) < len(s) && !found.full; i++ {
		if s[i]|0x20 != 'b' || !strings.EqualFold(s[i:i+len(word)], word) {
			continue
		}
		from := i + len(word)
		if s[from] == '.' {
			from++
		} else if from = skipBlank(s, from); from == i+len(word) {
			continue
		}
		to := from + wordLen(s[from:])
		switch strings.ToLower(strings.TrimRight(s[from:to], ".,:!?)")) {
		case "token", "tokens", "subprotocol", "authentication", "scheme": // these words follow bearer in prose
		default:
			found.add(s, from, to)
		}
		i = from - 1
	}
}

// skipBlank skips what may separate a scheme from a token.
func skipBlank(s string, i int) int {
	for i < len(s) {
		switch {
		case s[i] == ' ', s[i] == '\t', s[i] == '+', s[i] == ':', s[i] == '=', s[i] == '"', s[i] == '\'', s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], "%20"):
			i += 3
		default:
			return i
		}
	}
	return i
}

// webTokens finds compact JWTs: parts in base64 separated by dots, of which the first begins a JSON object.
func webTokens(s string, found *spans) {
	for i := 0; ; {
		at := strings.Index(s[i:], "eyJ")
		if at < 0 {
			return
		}
		from := i + at
		to, dot := from, false
		for to < len(s) && (isWord(s[to]) || s[to] == '-' || s[to] == '_' || s[to] == '.') {
			dot = dot || (s[to] == '.' && to+1 < len(s) && s[to+1] != '.')
			to++
		}
		if dot {
			found.add(s, from, to)
		}
		i = to
	}
}

// passwords finds those in URLs: after the user's name, or everything before an @.
func passwords(s string, found *spans) {
	const mark = "://"
	for i := 0; ; {
		at := strings.Index(s[i:], mark)
		if at < 0 {
			return
		}
		i += at + len(mark)
		from, to := userinfo(s, i)
		found.add(s, from, to)
	}
}

// userinfo returns the secret part of what precedes the host in the URL whose authority begins at i.
func userinfo(s string, i int) (from, to int) {
	end := min(len(s), i+maxAuthority)
	path, at, colon := -1, -1, -1
	for j := i; j < end; j++ {
		switch c := s[j]; {
		case c <= ' ', c == '"', c == '\'', c == '`', c == '<', c == '>':
			end = j
		case c == '@' && (path < 0 || !isPort(s, colon, path)):
			at = j
		case c == '/', c == '?', c == '#':
			if path < 0 {
				if at >= 0 {
					end = j
					break
				}
				path = j
			}
		case c == ':' && colon < 0 && path < 0:
			colon = j
		}
	}
	switch {
	case at < 0:
		return 0, 0
	case colon >= 0 && colon < at:
		return colon + 1, at
	}
	return i, at
}

// isPort says whether nothing but digits stands between a colon, if there is one, and a path: then an @ that comes
// later is not that of a password with a slash in it.
func isPort(s string, colon, path int) bool {
	if colon < 0 {
		return true
	}
	for _, c := range []byte(s[colon+1 : path]) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// maxShown is how many bytes of a client's parameter log lines and sessions keep.
const maxShown = 256

// Shown returns what log lines and sessions keep of a parameter or a field: no secret, and at most 256 bytes.
func (s *Secrets) Shown(name, value string) string {
	value = s.Value(name, value)
	return value[:min(len(value), maxShown)]
}
