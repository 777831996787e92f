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

const tagBytes = 8

// tag is what the ids of a user begin with. All keys of a user in Redis have it, so that they are in one place.
type tag [tagBytes]byte

// secret is the random part of an id.
type secret [len(ID{}) - tagBytes]byte

// NewID makes an id for a session of user. For an anonymous one, whose user is empty, the tag is random.
func NewID(user string) ID {
	var id ID
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the process instead
	if user != "" {
		t := tagOf(user)
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

func (id ID) tag() tag { return tag(id[:tagBytes]) }

func (id ID) secret() secret { return secret(id[tagBytes:]) }

// mayBe says whether the id can be one of user's.
func (id ID) mayBe(user string) bool { return !id.IsZero() && (user == "" || id.tag() == tagOf(user)) }

// tagOf is the tag of a named user.
func tagOf(user string) tag {
	sum := sha256.Sum256([]byte("user\x00" + user))
	return tag(sum[:])
}

var _ slog.LogValuer = ID{}
