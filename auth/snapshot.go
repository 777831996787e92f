package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// snapshot is the JSON form of a Snapshot. Fields may be added.
type snapshot struct {
	Sets []jwkSnapshot `json:"sets"`
}

// jwkSnapshot is the latest JWK set of one address.
type jwkSnapshot struct {
	Address string          `json:"address"` // hash of the address
	Updated time.Time       `json:"updated"`
	Set     json.RawMessage `json:"set"`
}

// Snapshot returns the JWK sets that v has fetched, for a Verifier of the same configuration in another process, which
// may not reach the provider. It returns nil if there are none.
func Snapshot(v Verifier) []byte {
	var s snapshot
	for _, j := range providers(v) {
		if one, ok := j.snapshot(); ok {
			s.Sets = append(s.Sets, one)
		}
	}
	if len(s.Sets) == 0 {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil { // cannot happen: it was JSON before
		return nil
	}
	return b
}

// Restore adds the JWK sets of a Snapshot to v, where they are newer than those that v has.
func Restore(v Verifier, b []byte) error {
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("auth: snapshot: %w", err)
	}
	var faults []error
	for _, j := range providers(v) {
		for _, one := range s.Sets {
			if one.Address == j.address() {
				faults = append(faults, j.restore(one))
			}
		}
	}
	return errors.Join(faults...)
}

// Updated returns when v last fetched something that Snapshot returns, or the zero Time.
func Updated(v Verifier) (latest time.Time) {
	for _, j := range providers(v) {
		if t := j.Stats().Updated; t.After(latest) {
			latest = t
		}
	}
	return latest
}

// ErrNoKeys means that a provider has not sent any keys yet.
var ErrNoKeys = errors.New("no keys yet")

// Ready reports why v cannot verify any token at present: none of its providers has sent keys yet.
func Ready(v Verifier) error { return ready(v) }

// ready is Ready for a Verifier or a KeySource. Of several, one is enough.
func ready(x any) error {
	if j, ok := x.(*JWKS); ok {
		return j.missing()
	}
	var faults []error
	for _, part := range parts(x) {
		err := ready(part)
		if err == nil {
			return nil
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// providers returns the JWKS that a Verifier or a KeySource contains.
func providers(x any) (list []*JWKS) {
	if j, ok := x.(*JWKS); ok {
		return []*JWKS{j}
	}
	for _, part := range parts(x) {
		list = append(list, providers(part)...)
	}
	return list
}

// parts returns the Verifiers and KeySources that one of this package directly contains.
func parts(x any) (list []any) {
	switch x := x.(type) {
	case *Cache:
		list = append(list, x.verifier)
	case *JWT:
		list = append(list, x.keys)
	case chain:
		for _, v := range x {
			list = append(list, v)
		}
	case joined:
		for _, s := range x {
			list = append(list, s)
		}
	}
	return list
}

// address identifies the provider without revealing its URL, which may contain secrets.
func (j *JWKS) address() string {
	sum := sha256.Sum256([]byte(j.cfg.URL))
	return hex.EncodeToString(sum[:])
}

func (j *JWKS) snapshot() (s jwkSnapshot, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return jwkSnapshot{j.address(), j.stats.Updated, j.set}, j.set != nil
}

// restore stores the keys of a snapshot if they are newer.
func (j *JWKS) restore(s jwkSnapshot) error {
	keys, err := parseSet(s.Set)
	if err != nil {
		return fmt.Errorf("auth: snapshot of %s: %w", j.remote.host, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.keys == nil || s.Updated.After(j.stats.Updated) {
		j.keys, j.set, j.stats.Updated = keys, s.Set, s.Updated
	}
	return nil
}

// parseSet parses a JWK set and leaves out keys that cannot be used. A set without usable keys is an error: it is
// usually a mistake and would lock everybody out.
func parseSet(b []byte) (KeySet, error) {
	raw, err := splitJWKs(b)
	if err != nil {
		return nil, err
	}
	var set KeySet
	for _, r := range raw {
		k, err := parseJWK(r, false)
		if err != nil {
			continue
		}
		if key := k.public(); (KeySet{key}).check() == nil {
			set = append(set, key)
		}
	}
	if len(set) == 0 {
		return nil, fmt.Errorf("none of the keys (%d) can be used", len(raw))
	}
	return set, nil
}
