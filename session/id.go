package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
)

// ID names a session: a tag of 8 bytes that all sessions of a user share, and 16 random bytes. Who knows the id of an
// anonymous session may resume it: it is a secret, and logs get its short form. In text and JSON it is a string of 48
// hexadecimal digits. The zero ID is none.
type ID [24]byte

// Tag is what the ids of a user's sessions begin with. A store can use it to keep all sessions of a user in one place.
type Tag [8]byte

// NewID makes an id for a session of user. For an anonymous one, whose user is empty, the tag is random.
func NewID(user string) ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	if user != "" {
		t := TagOf(user)
		copy(id[:], t[:])
	}
	return id
}

// ParseID reads the text form of an ID.
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

// String is the text form.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short is a form that names the session and does not open it: 8 hexadecimal digits. The zero ID's is empty.
func (id ID) Short() string {
	if id.IsZero() {
		return ""
	}
	sum := sha256.Sum256(id[:])
	return hex.EncodeToString(sum[:4])
}

// IsZero says whether this is no id.
func (id ID) IsZero() bool { return id == ID{} }

// LogValue is the short form.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText is the text form.
func (id ID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// UnmarshalText reads the text form.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	*id = v
	return err
}

// Tag returns the part of the id that all sessions of its user share.
func (id ID) Tag() Tag { return Tag(id[:len(Tag{})]) }

// MayBelongTo reports whether the id can be one of a user's: those of a named user begin with the user's tag. The zero
// ID belongs to nobody.
func (id ID) MayBelongTo(user string) bool {
	return !id.IsZero() && (user == "" || id.Tag() == TagOf(user))
}

// TagOf returns the tag of a named user.
func TagOf(user string) Tag {
	sum := sha256.Sum256([]byte("user\x00" + user))
	return Tag(sum[:])
}

var _ slog.LogValuer = ID{}
