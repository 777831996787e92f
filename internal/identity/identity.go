// Package identity encodes and decodes auth.Identity values, which move with a connection and are stored with tickets.
package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/internal/strictjson"
)

// ErrEncoding means that bytes are not an encoded Identity, or that they hold a record of a later version that must not
// be ignored.
var ErrEncoding = errors.New("identity: bad encoding")

// version is the first byte. The user follows, with its length before it, and then a list of records, as package record
// encodes them. Numbers are little-endian.
const version = 1

const (
	tagTokenID = 0x01 // text
	tagExpiry  = 0x02 // seconds since 1970 (8), nanoseconds (4)
	tagIssuer  = 0x03 // text
	tagScope   = 0x04 // text; one record for each scope, in their order
	tagClaims  = 0x05 // JSON object
	tagPartial = 0x06 // empty
	tagSource  = 0x07 // number (1)
	tagLeeway  = 0x80 // nanoseconds (8); if it is missing or not known, the leeway is 0
	tagSubject = 0x81 // text: the Certificate
)

// Append appends id to dst in the form that Parse reads. Claims that are larger than auth.MaxClaims, or that cannot be
// encoded as JSON, are left out, and the encoded Identity is Partial.
func Append(dst []byte, id *auth.Identity) []byte {
	dst = record.AppendText(append(dst, version), id.User)
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
	claims, ok := strictjson.Encode(id.Claims, auth.MaxClaims)
	if len(claims) > 0 {
		dst = record.Append(dst, tagClaims, claims)
	}
	if id.Partial || !ok {
		dst = record.AppendHeader(dst, tagPartial, 0)
	}
	if id.Certificate != "" {
		dst = record.Append(dst, tagSubject, id.Certificate)
	}
	if id.Source != auth.SourceNone {
		dst = append(record.AppendHeader(dst, tagSource, 1), byte(id.Source))
	}
	return dst
}

// Parse decodes what Append wrote, in this version or another one. The error is ErrEncoding; b may hold anything. The
// Identity does not alias b.
func Parse(b []byte) (auth.Identity, error) {
	var id auth.Identity
	d, user := decodeUser(b)
	if err := d.Err(); err != nil {
		return auth.Identity{}, fmt.Errorf("%w: %w", ErrEncoding, err)
	}
	id.User = string(user)
	var seen [256]bool
	for d.More() {
		tag, value := d.Next()
		if err := d.Err(); err != nil {
			return auth.Identity{}, fmt.Errorf("%w: %w", ErrEncoding, err)
		}
		if (seen[tag] && tag != tagScope && tag <= tagSubject) || !load(&id, tag, value) {
			return auth.Identity{}, fmt.Errorf("%w: record %#x", ErrEncoding, tag)
		}
		seen[tag] = true
	}
	return id, nil
}

// load stores one record in id and reports whether it is well formed, or may be skipped.
func load(id *auth.Identity, tag byte, v []byte) bool {
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
		if len(v) > auth.MaxClaims {
			return false
		}
		claims, err := strictjson.Object(v)
		id.Claims = claims
		return err == nil
	case tagPartial:
		id.Partial = true
		return len(v) == 0
	case tagSource:
		if len(v) != 1 {
			return false
		}
		id.Source = auth.Source(v[0])
	case tagSubject:
		id.Certificate = string(v)
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
	if d.Byte() != version {
		d.Fail(errors.New("unknown version"))
	}
	return d, d.Text()
}
