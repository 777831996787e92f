package session

import "time"

// Session is a session as a store knows it, without its values.
type Session struct {
	ID ID
	// User is the user of the session. It is empty for an anonymous session.
	User string
	// Params describe the client, such as its device. Sessions may share the map: it must not be modified.
	Params map[string]string
	// Created and Seen are times of the store's clock. Seen is when the session was last attached, touched or detached.
	Created, Seen time.Time
	// TTL is how long the session lives after Seen.
	TTL time.Duration
	// Place is where the session's connection is.
	Place Place
}

// Saved is a session with its values.
type Saved struct {
	Session
	// Values may be nil. None of its elements is nil.
	Values map[string][]byte
}

// Place identifies a live connection. The zero Place means that there is no connection.
type Place struct {
	// Node identifies the machine. It is random, and new whenever the machine's primary starts.
	Node string
	// Conn is the id of the connection. It is 0 only in the zero Place.
	Conn uint64
}

// IsZero reports whether there is no connection.
func (p Place) IsZero() bool { return p.Conn == 0 }

// Ref is a session and its connection.
type Ref struct {
	ID   ID
	Conn uint64
}

// Attach is a request for the session of a new connection.
type Attach struct {
	// ID is the session to resume. If it is zero, a new session is created.
	ID ID
	// User is the user of the connection. It is empty for an anonymous one. Only sessions of the same user are resumed.
	User string
	// Params are the parameters of a new session. If they are not nil, they replace those of a session that is resumed.
	Params map[string]string
	// Place is where the connection is.
	Place  Place
	Policy Policy
}

// Attached is the result of Store.Attach and Store.Claim.
type Attached struct {
	Session Session
	// Resumed reports whether the session existed before.
	Resumed bool
	// Pending reports whether a Claim must follow: after Attach, as soon as the connection is open; after Claim, at
	// once.
	Pending bool
	// Replaced is the connection that had the session before a Claim. The caller closes it.
	Replaced Place
	// Evicted are the sessions that a Claim has deleted to make room for this one. The caller closes their connections.
	Evicted []Session
}

// Changes are values to be set. A nil value deletes its key; an empty value does not.
type Changes map[string][]byte

// Page selects a part of a list of sessions. The zero Page is the first one, of MaxList sessions.
type Page struct {
	// Created and ID are those of the last session of the previous page.
	Created time.Time
	ID      ID
	// Max is the largest number of sessions in the page. 0 means MaxList, which is also the upper limit.
	Max int
}

// Next returns the page that follows the session s.
func (p Page) Next(s Session) Page { return Page{Created: s.Created, ID: s.ID, Max: p.Max} }

// IsFirst reports whether the page begins with the newest session.
func (p Page) IsFirst() bool { return p.ID.IsZero() }

// Limit returns the largest number of sessions in the page: Max if it is within 1 and MaxList, MaxList otherwise.
func (p Page) Limit() int {
	if p.Max <= 0 {
		return MaxList
	}
	return min(p.Max, MaxList)
}
