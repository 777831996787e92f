package session

import "time"

// Session is what a store knows of a session, its values apart.
type Session struct {
	ID ID
	// User is whose it is; empty is anonymous.
	User string
	// Params are what the client said of itself, such as its device. They are not changed: whoever has a Session shares
	// them.
	Params map[string]string
	// Created and Seen are times of the store's clock. Seen is when it was attached, touched or detached last.
	Created, Seen time.Time
	// TTL is how long it lives from Seen on.
	TTL time.Duration
	// Place is where its connection is.
	Place Place
}

// Place is where a live connection is. The zero Place is nowhere: not connected.
type Place struct {
	// Node is the name of the machine's primary, which is random.
	Node string
	// Conn is the connection's id, and 0 with the zero Place only.
	Conn uint64
}

// IsZero says whether this is nowhere.
func (p Place) IsZero() bool { return p.Conn == 0 }

// Page is a part of a list of sessions. The zero Page is the first one, of MaxList.
type Page struct {
	// Created and ID are those of the last session of the page before.
	Created time.Time
	ID      ID
	// Max is how many sessions it has at most; 0 means MaxList, which it cannot exceed.
	Max int
}

// Next is the page behind a session.
func (p Page) Next(s Session) Page { return Page{Created: s.Created, ID: s.ID, Max: p.Max} }

// IsFirst reports whether the page begins with the newest session.
func (p Page) IsFirst() bool { return p.ID.IsZero() }

// Limit returns how many sessions the page has at most: Max, or MaxList if Max is not set or larger.
func (p Page) Limit() int {
	if p.Max <= 0 {
		return MaxList
	}
	return min(p.Max, MaxList)
}

// Ref is a session and the connection that speaks for it.
type Ref struct {
	ID   ID
	Conn uint64
}

// Policy is what holds for the sessions of a user.
type Policy struct {
	// TTL is how long a session lives without being attached, touched or detached. 0 means DefaultTTL; it is at most
	// MaxTTL.
	TTL time.Duration
	// MaxPerUser is how many sessions a user may have; 0 means any number. It does not count for anonymous users.
	MaxPerUser int
	// Refuse says that a connected session never goes to make room for a new one: that is refused instead. Without it
	// the oldest goes.
	Refuse bool
	// Stale is with Refuse: a connected session that was not touched for so long counts as disconnected. 0 means never.
	Stale time.Duration
}

// Attach asks for a session for a connection.
type Attach struct {
	// ID is the session to resume. The zero ID asks for a new one.
	ID ID
	// User is whose session it must be; empty is anonymous.
	User string
	// Params are those of a new session. A resumed one gets them, too, if they are not nil.
	Params map[string]string
	// Place is where the connection is.
	Place  Place
	Policy Policy
}

// Attached is the answer to an Attach or a Claim.
type Attached struct {
	Session Session
	// Resumed says that the session was there before.
	Resumed bool
	// Pending says that a Claim must follow: after an Attach as soon as the connection is open, after a Claim at once.
	Pending bool
	// Replaced is the connection that had the session before a Claim. It is to be closed.
	Replaced Place
	// Evicted are the sessions that a Claim has deleted to make room. The connections of those with a Place are to be
	// closed.
	Evicted []Session
}

// Saved is a whole session, to be restored.
type Saved struct {
	Session
	// Values may be nil. There are no nil values in it.
	Values map[string][]byte
}

// Changes are values to be set. A nil value deletes.
type Changes map[string][]byte
