package presence

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
)

// Limits of a member.
const (
	// MaxID is the longest ID in bytes.
	MaxID = 300
	// MaxInfo is the longest Info in bytes.
	MaxInfo = 256
)

// Member is who may be in a topic. ID names a user, a session or a connection; Info is the application's.
type Member struct{ ID, Info string }

// The beginnings of IDs.
const (
	userPrefix    = "user:"
	sessionPrefix = "session:"
	connPrefix    = "conn:"
)

// longest is the part of an ID that is kept if it would be too long; a hash replaces the rest.
const longest = MaxID - 2*hashLen

const hashLen = 16

// UserID returns the ID of a user.
func UserID(user string) string {
	id := userPrefix + user
	if len(id) <= MaxID {
		return id
	}
	return id[:longest] + hash(id)
}

// SessionID returns the ID of a session. It does not tell the session's own id, with which anybody could resume it.
func SessionID(session []byte) string { return sessionPrefix + hash(string(session)) }

// ConnID returns the ID of a connection.
func ConnID(conn string) string { return connPrefix + conn }

// User returns the user that an ID names; empty if it names none.
func User(id string) string {
	user, ok := strings.CutPrefix(id, userPrefix)
	if !ok {
		return ""
	}
	return user
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:hashLen])
}

// errMember reports bytes that are not a member.
var errMember = errors.New("presence: bad member")

// append appends a member: the length of its ID (2 bytes, little-endian), the ID, and Info.
func (m Member) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(m.ID)))
	return append(append(b, m.ID...), m.Info...)
}

// parseMember reads what append has written.
func parseMember(b []byte) (Member, error) {
	if len(b) < 2 {
		return Member{}, errMember
	}
	n := 2 + int(binary.LittleEndian.Uint16(b))
	if n > len(b) || n == 2 || n > 2+MaxID || len(b)-n > MaxInfo {
		return Member{}, errMember
	}
	return Member{ID: string(b[2:n]), Info: string(b[n:])}, nil
}
