package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// ID identifies a session: a Tag, followed by 16 random bytes. Anyone who knows the id of an anonymous session can
// resume it, so an id is a secret, and logs contain only its short form. In text and JSON, an ID is a string of 48
// hexadecimal digits. The zero ID identifies no session.
type ID [24]byte

// Tag is the beginning of an ID. All sessions of a named user have the same Tag, so that a store can keep them in one
// place. The Tag of an anonymous session is random.
type Tag [8]byte

// NewID returns a random id for a session of user. The user of an anonymous session is empty.
func NewID(user string) ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	if user != "" {
		t := TagOf(user)
		copy(id[:], t[:])
	}
	return id
}

// ParseID parses the text form of an ID. Its errors do not repeat the text, which may be a secret.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("session: an id of %d characters: want %d hexadecimal digits", len(s), 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("session: an id that is not hexadecimal: want %d digits", 2*len(id))
	}
	return id, nil
}

// TagOf returns the Tag of a named user.
func TagOf(user string) Tag {
	sum := sha256.Sum256([]byte("user\x00" + user))
	return Tag(sum[:])
}

// Tag returns the first part of the id.
func (id ID) Tag() Tag { return Tag(id[:len(Tag{})]) }

// MayBelongTo reports whether the id can be that of a session of user. For an anonymous user, it is true for every id
// but the zero ID.
func (id ID) MayBelongTo(user string) bool {
	return !id.IsZero() && (user == "" || id.Tag() == TagOf(user))
}

// IsZero reports whether the id is the zero ID.
func (id ID) IsZero() bool { return id == ID{} }

// String returns the text form, which is a secret.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns 8 hexadecimal digits that identify the session in logs and cannot be used to resume it. For the zero ID
// it returns the empty string.
func (id ID) Short() string {
	if id.IsZero() {
		return ""
	}
	sum := sha256.Sum256(id[:])
	return hex.EncodeToString(sum[:4])
}

// LogValue returns the short form, so that log/slog never writes the secret.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText returns the text form.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText parses the text form.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	*id = v
	return err
}

var _ slog.LogValuer = ID{}
