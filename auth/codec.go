package auth

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/record"
)

// ErrIdentity says that bytes are no encoded Identity, or one of a later version that this one cannot do without.
var ErrIdentity = errors.New("auth: bad identity")

// identityVersion is the first byte. The user follows, with its length before it, and then a list of records, as
// package record encodes them. Numbers are little-endian.
const identityVersion = 1

const (
	tagTokenID = 0x01 // text
	tagExpiry  = 0x02 // seconds since 1970 (8), nanoseconds (4)
	tagIssuer  = 0x03 // text
	tagScope   = 0x04 // text; one record each, in order
	tagClaims  = 0x05 // JSON object
	tagPartial = 0x06 // empty
	tagSource  = 0x07 // number (1)
	tagLeeway  = 0x80 // nanoseconds (8); if it is missing or not known, the leeway is 0
)

// Append appends id in the form that ParseIdentity reads: a client's identity travels with its connection. Claims that
// are larger than MaxClaims, or that are no JSON, are left out, and the result is Partial.
func (id *Identity) Append(dst []byte) []byte {
	dst = record.AppendText(append(dst, identityVersion), id.User)
	if id.TokenID != "" {
		dst = record.Append(dst, tagTokenID, id.TokenID)
	}
	if !id.Expiry.IsZero() {
		dst = record.AppendHeader(dst, tagExpiry, 12)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(id.Expiry.Unix()))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(id.Expiry.Nanosecond()))
	}
	if id.Leeway > 0 {
		dst = record.AppendUint64(dst, tagLeeway, uint64(id.Leeway))
	}
	if id.Issuer != "" {
		dst = record.Append(dst, tagIssuer, id.Issuer)
	}
	for _, s := range id.Scopes {
		dst = record.Append(dst, tagScope, s)
	}
	claims, ok := encodeClaims(id.Claims)
	if len(claims) > 0 {
		dst = record.Append(dst, tagClaims, claims)
	}
	if id.Partial || !ok {
		dst = record.AppendHeader(dst, tagPartial, 0)
	}
	if id.Source != SourceNone {
		dst = append(record.AppendHeader(dst, tagSource, 1), byte(id.Source))
	}
	return dst
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
	d, user := decodeUser(b)
	if err := d.Err(); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrIdentity, err)
	}
	id.User = string(user)
	var seen [256]bool
	for d.More() {
		tag, value := d.Next()
		if err := d.Err(); err != nil {
			return Identity{}, fmt.Errorf("%w: %w", ErrIdentity, err)
		}
		if (seen[tag] && tag != tagScope && tag <= tagLeeway) || !id.loadRecord(tag, value) {
			return Identity{}, fmt.Errorf("%w: record %#x", ErrIdentity, tag)
		}
		seen[tag] = true
	}
	return id, nil
}

func (id *Identity) loadRecord(tag byte, v []byte) bool {
	switch tag {
	case tagTokenID:
		id.TokenID = string(v)
	case tagExpiry:
		d := record.NewDecoder(v)
		seconds, nanos := d.Int64(), d.Uint32()
		id.Expiry = time.Unix(seconds, int64(nanos)).UTC()
		return d.End() == nil && nanos < uint32(time.Second)
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
		d := record.NewDecoder(v)
		id.Leeway = time.Duration(d.Int64())
		return d.End() == nil && id.Leeway > 0
	default:
		return tag >= record.Optional
	}
	return true
}

// UserOf returns the user of an encoded Identity, or "" if b is none. The result is a part of b: UserOf does not
// allocate.
func UserOf(b string) string {
	_, user := decodeUser(b)
	return user
}

// TokenIDOf returns the token id of an encoded Identity, or "" if b is none or has no token id. The result is a part of
// b: TokenIDOf does not allocate.
func TokenIDOf(b string) string {
	d, _ := decodeUser(b)
	for d.More() {
		if tag, value := d.Next(); tag == tagTokenID {
			return value
		}
	}
	return ""
}

// decodeUser reads the version and the user of an encoded Identity. The returned decoder continues with the records.
func decodeUser[T string | []byte](b T) (d record.Decoder[T], user T) {
	d = record.NewDecoder(b)
	if d.Byte() != identityVersion {
		d.Fail(errors.New("unknown version"))
	}
	return d, d.Text()
}
