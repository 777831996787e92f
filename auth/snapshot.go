package auth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// snapshot is the form of Snapshot, as JSON; fields may be added.
type snapshot struct {
	Sets []jwkSnapshot `json:"sets"`
}

// jwkSnapshot is the latest JWK set of one address.
type jwkSnapshot struct {
	Address string          `json:"address"` // a hash of it
	Updated time.Time       `json:"updated"`
	Set     json.RawMessage `json:"set"`
}

// Snapshot returns what v has learnt from providers, for a Verifier of the same configuration in another process, which
// may have to do without the provider: JWK sets. It is nil if there is nothing.
func Snapshot(v Verifier) []byte {
	var s snapshot
	for _, j := range followers(v) {
		if one, ok := j.snapshot(); ok {
			s.Sets = append(s.Sets, one)
		}
	}
	if len(s.Sets) == 0 {
		return nil
	}
	b, err := json.Marshal(s)
	if err != nil { // it was JSON before
		return nil
	}
	return b
}

// Restore gives v what a Snapshot says, where v knows nothing newer.
func Restore(v Verifier, b []byte) error {
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("auth: snapshot: %w", err)
	}
	var faults []error
	for _, j := range followers(v) {
		for _, one := range s.Sets {
			if one.Address == j.address() {
				faults = append(faults, j.restore(one))
			}
		}
	}
	return errors.Join(faults...)
}

// Updated is when v has last learnt something that Snapshot returns; the zero Time is never.
func Updated(v Verifier) (latest time.Time) {
	for _, j := range followers(v) {
		if t := j.Stats().Updated; t.After(latest) {
			latest = t
		}
	}
	return latest
}

// ErrNoKeys says that a provider has not sent any keys yet.
var ErrNoKeys = errors.New("no keys yet")

// Ready reports why v can verify no token at present: none of the providers that it follows has sent keys yet.
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

// followers are the JWKS that a Verifier or a KeySource is made of.
func followers(x any) (list []*JWKS) {
	if j, ok := x.(*JWKS); ok {
		return []*JWKS{j}
	}
	for _, part := range parts(x) {
		list = append(list, followers(part)...)
	}
	return list
}

// parts are what a Verifier or a KeySource of this package is made of.
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

// address names the provider, without giving away what its URL may hold.
func (j *JWKS) address() string {
	sum := sha256.Sum256([]byte(j.cfg.URL))
	return hex.EncodeToString(sum[:])
}

func (j *JWKS) snapshot() (s jwkSnapshot, ok bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return jwkSnapshot{j.address(), j.stats.Updated, j.set}, j.set != nil
}

// restore takes the keys of a snapshot if they are newer.
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

// parseSet reads a JWK set. Keys that cannot be used are left out; none at all is an error, as an empty set is most
// often a mistake and would lock everybody out.
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
		return nil, fmt.Errorf("has no key that can be used, of %d", len(raw))
	}
	return set, nil
}
