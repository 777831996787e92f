package control

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	// DefaultSessions is the limit of a request that has none.
	DefaultSessions = 1000
	maxSessions     = 1_000_000
	// PageSessions is the highest number of sessions in one answer.
	PageSessions = 1000

	// MaxDenial is the longest duration of a revocation.
	MaxDenial = 10 * 365 * 24 * time.Hour

	maxWho     = 4 << 10               // bytes of the name of a user, session or token
	maxCursor  = 256                   // bytes of a position in a list
	maxReason  = 123                   // bytes; RFC 6455 §5.5.1, less two for the code
	maxTopic   = 256                   // bytes, as in package broker
	maxPublish = 1 << 20               // bytes of a text
	maxText    = 6*maxPublish + 4*1024 // bytes of a request with a text: JSON may write each of its bytes as \u00XX
)

// SessionsRequest says which sessions to list. The zero value lists those that are connected, to all machines.
type SessionsRequest struct {
	User  string // empty: all
	Limit int    // up to 1,000,000; 0 is DefaultSessions
	After string // SessionList.Next of the previous page; empty: the first page
}

// Session is the session of a client. Its JSON is a contract like that of [Status].
type Session struct {
	ID        string            `json:"id"`
	User      string            `json:"user"` // empty: anonymous
	Created   time.Time         `json:"created"`
	Seen      time.Time         `json:"seen"` // the last time
	Connected bool              `json:"connected"`
	Conn      string            `json:"conn"`   // the latest connection
	Node      string            `json:"node"`   // the machine that it is or was on
	Params    map[string]string `json:"params"` // that the client sent
}

// SessionList is the answer to a SessionsRequest. Its JSON is a contract like that of [Status].
type SessionList struct {
	Sessions []Session `json:"sessions"`
	Store    string    `json:"store"`          // memory, redis or custom
	Degraded bool      `json:"degraded"`       // the store does not answer: the list has what this machine knows
	More     bool      `json:"more"`           // there are further ones
	Next     string    `json:"next,omitempty"` // SessionsRequest.After for the next page; empty: this is the last
	// Missing names machines that have not answered, for people: their sessions are not in the list.
	Missing []string `json:"missing,omitempty"`
}

// KickRequest says which connections to close. Exactly one of the first three fields is set.
type KickRequest struct {
	User    string `json:"user,omitempty"`
	Session string `json:"session,omitempty"`
	Conn    string `json:"conn,omitempty"`
	Reason  string `json:"reason,omitempty"` // for the client, at most 123 bytes
}

// KickResult is the outcome of a kick.
type KickResult struct {
	Closed int `json:"closed"` // connections
	// Warning reports an incomplete kick: other machines were not informed, for instance.
	Warning string `json:"warning,omitempty"`
}

// RevokeRequest says which clients to refuse. Exactly one of the first three fields is set.
type RevokeRequest struct {
	User    string `json:"user,omitempty"`
	Session string `json:"session,omitempty"`
	TokenID string `json:"token_id,omitempty"`
	Seconds int64  `json:"seconds,omitempty"` // duration; 0 is the default of the server
}

// RevokeResult is the outcome of a revocation.
type RevokeResult struct {
	Closed int       `json:"closed"` // connections
	Until  time.Time `json:"until"`  // then the client is accepted again
	Stored bool      `json:"stored"` // it survives this server, and other machines know it
	// Warning reports an incomplete revocation: it is not stored, for instance.
	Warning string `json:"warning"`
}

// LogsRequest says which log lines to send. The zero value asks for none, and is refused.
type LogsRequest struct {
	User    string `json:"user,omitempty"` // empty, as the next two: any
	Session string `json:"session,omitempty"`
	Conn    string `json:"conn,omitempty"`
	Worker  int    `json:"worker,omitempty"` // a slot; 0: any
	Level   string `json:"level,omitempty"`  // the lowest: debug, info, warn or error
	Follow  bool   `json:"follow,omitempty"` // lines from now on
	Recent  bool   `json:"recent,omitempty"` // the last lines
}

// LostLines is a line among those of a log: lines are missing at its place. Its JSON is a contract like that of
// [Status].
type LostLines struct {
	Lost   uint64 `json:"lost"`
	Worker int    `json:"worker,omitempty"` // slot where they were lost; 0: between the server and the client
}

// PublishRequest is a text message to all subscribers of a topic.
type PublishRequest struct {
	Topic string `json:"topic"` // 1 to 256 bytes
	Text  string `json:"text"`  // UTF-8, at most 1 MiB
}

// MarshalJSON encodes missing parameters as {}, never as null.
func (s Session) MarshalJSON() ([]byte, error) {
	type plain Session // without this method
	if s.Params == nil {
		s.Params = map[string]string{}
	}
	return json.Marshal(plain(s))
}

// MarshalJSON encodes an empty list as [], never as null: scripts iterate over it.
func (l SessionList) MarshalJSON() ([]byte, error) {
	type plain SessionList // without this method
	if l.Sessions == nil {
		l.Sessions = []Session{}
	}
	return json.Marshal(plain(l))
}

// query returns the request as the query of a URL.
func (r SessionsRequest) query() string {
	v := url.Values{}
	if r.User != "" {
		v.Set("user", r.User)
	}
	if r.Limit != 0 {
		v.Set("limit", strconv.Itoa(r.Limit))
	}
	if r.After != "" {
		v.Set("after", r.After)
	}
	return v.Encode()
}

// parseSessionsRequest parses what query returns.
func parseSessionsRequest(query url.Values) (SessionsRequest, error) {
	r := SessionsRequest{User: query.Get("user"), Limit: DefaultSessions, After: query.Get("after")}
	if s := query.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxSessions {
			return r, badRequest("limit %q: want 1 to %d", s, maxSessions)
		}
		r.Limit = n
	}
	if err := checkText("after", r.After, maxCursor); err != nil {
		return r, err
	}
	return r, checkText("user", r.User, maxWho)
}

func (r KickRequest) check() error {
	if err := exactlyOne("user", r.User, "session", r.Session, "conn", r.Conn); err != nil {
		return err
	}
	return checkText("reason", r.Reason, maxReason)
}

func (r RevokeRequest) check() error {
	if r.Seconds < 0 || r.Seconds > int64(MaxDenial/time.Second) {
		return badRequest("seconds %d: want 1 to %d, or 0 for the default", r.Seconds, int64(MaxDenial/time.Second))
	}
	return exactlyOne("user", r.User, "session", r.Session, "token_id", r.TokenID)
}

func (r LogsRequest) check() error {
	switch {
	case !r.Follow && !r.Recent:
		return badRequest("want follow, recent or both")
	case r.Worker < 0 || r.Worker > maxWorkers:
		return badRequest("worker %d: want 1 to %d, or 0 for all", r.Worker, maxWorkers)
	case r.Level != "" && !slices.Contains([]string{"debug", "info", "warn", "error"}, r.Level):
		return badRequest("level %q: want debug, info, warn or error", r.Level)
	}
	for _, s := range []string{r.User, r.Session, r.Conn} {
		if err := checkText("a name", s, maxWho); err != nil {
			return err
		}
	}
	return nil
}

func (r PublishRequest) check() error {
	if r.Topic == "" {
		return badRequest("topic is empty")
	}
	if err := checkText("topic", r.Topic, maxTopic); err != nil {
		return err
	}
	return checkText("text", r.Text, maxPublish)
}

// exactlyOne returns an error unless exactly one value is set. The pairs are three names, each followed by its value.
func exactlyOne(pairs ...string) error {
	set := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			set++
		}
		if err := checkText(pairs[i], pairs[i+1], maxWho); err != nil {
			return err
		}
	}
	if set != 1 {
		return badRequest("want exactly one of %s, %s and %s", pairs[0], pairs[2], pairs[4])
	}
	return nil
}

func checkText(name, s string, most int) error {
	switch {
	case len(s) > most:
		return badRequest("%s of %d bytes: want at most %d", name, len(s), most)
	case !utf8.ValidString(s):
		return badRequest("%s is not UTF-8", name)
	}
	return nil
}

var (
	_ json.Marshaler = Session{}
	_ json.Marshaler = SessionList{}
)
