package auth

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// ErrIdentity says that bytes are no encoded Identity, or one of a later version that this one cannot do without.
var ErrIdentity = errors.New("auth: bad identity")

// identityVersion is the first byte. The user's length and bytes follow, and then records: tag, length, value. Lengths
// are uvarints, other numbers little-endian. A reader may skip unknown tags from optionalTag on, and must refuse the
// others.
const identityVersion = 1

const (
	tagTokenID  = 0x01 // text
	tagExpiry   = 0x02 // seconds since 1970 (8), nanoseconds (4)
	tagIssuer   = 0x03 // text
	tagScope    = 0x04 // text; one record each, in order
	tagClaims   = 0x05 // JSON object
	tagPartial  = 0x06 // empty
	tagSource   = 0x07 // number (1)
	optionalTag = 0x80
	tagLeeway   = 0x80 // nanoseconds (8); without it, and for those who do not know it, none
)

// Append appends id in the form that ParseIdentity reads: a client's identity travels with its connection. Claims that
// are larger than MaxClaims, or that are no JSON, are left out, and the result is Partial.
func (id *Identity) Append(dst []byte) []byte {
	dst = append(dst, identityVersion)
	dst = binary.AppendUvarint(dst, uint64(len(id.User)))
	dst = append(dst, id.User...)
	if id.TokenID != "" {
		dst = appendRecord(dst, tagTokenID, id.TokenID)
	}
	if !id.Expiry.IsZero() {
		dst = append(dst, tagExpiry, 12)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(id.Expiry.Unix()))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(id.Expiry.Nanosecond()))
	}
	if id.Leeway > 0 {
		dst = binary.LittleEndian.AppendUint64(append(dst, tagLeeway, 8), uint64(id.Leeway))
	}
	if id.Issuer != "" {
		dst = appendRecord(dst, tagIssuer, id.Issuer)
	}
	for _, s := range id.Scopes {
		dst = appendRecord(dst, tagScope, s)
	}
	claims, ok := encodeClaims(id.Claims)
	if len(claims) > 0 {
		dst = appendRecord(dst, tagClaims, claims)
	}
	if id.Partial || !ok {
		dst = append(dst, tagPartial, 0)
	}
	if id.Source != SourceNone {
		dst = append(dst, tagSource, 1, byte(id.Source))
	}
	return dst
}

func appendRecord[T ~string | ~[]byte](dst []byte, tag byte, value T) []byte {
	dst = binary.AppendUvarint(append(dst, tag), uint64(len(value)))
	return append(dst, value...)
}

// encodeClaims writes claims as compact JSON. It reports false if they cannot be kept.
func encodeClaims(claims map[string]any) ([]byte, bool) {
	if len(claims) == 0 {
		return nil, true
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(claims); err != nil {
		return nil, false
	}
	b := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(b) > MaxClaims {
		return nil, false
	}
	return b, true
}

// ParseIdentity reads what Append wrote, here or in another version. The error is ErrIdentity: b may come from
// anywhere. Nothing of the result aliases b.
func ParseIdentity(b []byte) (Identity, error) {
	var id Identity
	user, rest, ok := cutUser(b)
	if !ok {
		return Identity{}, fmt.Errorf("%w: unknown version, or cut off", ErrIdentity)
	}
	id.User = string(user)
	var seen [256]bool
	for len(rest) > 0 {
		tag, value, next, ok := cutRecord(rest)
		if !ok {
			return Identity{}, fmt.Errorf("%w: cut off", ErrIdentity)
		}
		if (seen[tag] && tag != tagScope && tag <= tagLeeway) || !id.loadRecord(tag, value) {
			return Identity{}, fmt.Errorf("%w: record %#x", ErrIdentity, tag)
		}
		seen[tag] = true
		rest = next
	}
	return id, nil
}

func (id *Identity) loadRecord(tag byte, v []byte) bool {
	switch tag {
	case tagTokenID:
		id.TokenID = string(v)
	case tagExpiry:
		if len(v) != 12 {
			return false
		}
		nanos := binary.LittleEndian.Uint32(v[8:])
		id.Expiry = time.Unix(int64(binary.LittleEndian.Uint64(v)), int64(nanos)).UTC()
		return nanos < uint32(time.Second)
	case tagIssuer:
		id.Issuer = string(v)
	case tagScope:
		id.Scopes = append(id.Scopes, string(v))
	case tagClaims:
		if len(v) > MaxClaims {
			return false
		}
		claims, err := decodeObject(v)
		id.Claims = claims
		return err == nil
	case tagPartial:
		id.Partial = true
		return len(v) == 0
	case tagSource:
		if len(v) != 1 {
			return false
		}
		id.Source = Source(v[0])
	case tagLeeway:
		if len(v) != 8 {
			return false
		}
		id.Leeway = time.Duration(binary.LittleEndian.Uint64(v))
		return id.Leeway > 0
	default:
		return tag >= optionalTag
	}
	return true
}

// UserOf is the user of an encoded Identity, as a part of b: it does not allocate. It is empty if b is none.
func UserOf(b string) string {
	user, _, _ := cutUser(b)
	return user
}

// TokenIDOf is the token id of an encoded Identity, as a part of b: it does not allocate. It is empty if b is none.
func TokenIDOf(b string) string {
	_, rest, ok := cutUser(b)
	for ok && len(rest) > 0 {
		var tag byte
		var value string
		if tag, value, rest, ok = cutRecord(rest); ok && tag == tagTokenID {
			return value
		}
	}
	return ""
}

// cutUser splits an encoded Identity into the user and the records.
func cutUser[T ~string | ~[]byte](b T) (user, rest T, ok bool) {
	if len(b) == 0 || b[0] != identityVersion {
		return b[:0], b[:0], false
	}
	return cutValue(b[1:])
}

// cutRecord splits records behind the first.
func cutRecord[T ~string | ~[]byte](b T) (tag byte, value, rest T, ok bool) {
	value, rest, ok = cutValue(b[1:])
	return b[0], value, rest, ok
}

// cutValue splits a length and so many bytes from what follows.
func cutValue[T ~string | ~[]byte](b T) (value, rest T, ok bool) {
	n, used := uvarint(b)
	if used == 0 || n > uint64(len(b)-used) {
		return b[:0], b[:0], false
	}
	end := used + int(n)
	return b[used:end], b[end:], true
}

// uvarint is binary.Uvarint for strings as well, up to 35 bits. It returns 0, 0 if there is none.
func uvarint[T ~string | ~[]byte](b T) (value uint64, used int) {
	for i := range min(len(b), 5) {
		value |= uint64(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return value, i + 1
		}
	}
	return 0, 0
}
