package expedite

import (
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/telemetry"
)

// Keys that a provider has sent once pass from worker to primary, and from there to whoever starts: a provider that is
// away then locks nobody out.

// degradedKeys is what /readyz and status call a provider that has not sent its keys.
const degradedKeys = "keys"

// keysReady reports why no token can be verified; nil if tokens are not looked at.
func (a *Auth) keysReady() error {
	if a.Verifier == nil || a.mode() == AuthOff {
		return nil
	}
	return auth.Ready(a.Verifier)
}

// keysMissing reports whether workers serve and none of them can verify a token.
func keysMissing(samples []telemetry.SlotReport) (missing bool) {
	for _, s := range samples {
		switch control.State(s.State) {
		case control.StateStarting, control.StateDead:
			continue
		}
		if !s.KeysMissing {
			return false
		}
		missing = true
	}
	return missing
}

// swapKeys answers a worker that tells what it knows: with what this process knows then.
func (r *registry) swapKeys(b []byte) []byte {
	if r.verifier == nil {
		return nil
	}
	if len(b) > 0 {
		if err := auth.Restore(r.verifier, b); err != nil {
			r.log.Warn("keys of a worker not understood", "error", err)
		}
	}
	return auth.Snapshot(r.verifier)
}

// swapKeys tells the primary what this worker knows, and learns what that knows. One of an earlier release knows
// nothing.
func (u *uplink) swapKeys() {
	v := u.n.gate.auth.Verifier
	if v == nil {
		return
	}
	b, err := u.call(opKeys, auth.Snapshot(v))
	if err != nil {
		return // it is tried again with the next keys, or the next primary
	}
	if len(b) > 0 {
		if err := auth.Restore(v, b); err != nil {
			u.n.log.Warn("keys of the primary not understood", "error", err)
		}
	}
	if t := auth.Updated(v); !t.IsZero() {
		u.keys.Store(t.UnixNano())
	}
}

// tellKeys tells the primary of keys that have come since it was told. It does not wait.
func (u *uplink) tellKeys() {
	v := u.n.gate.auth.Verifier
	if v == nil {
		return
	}
	if t := auth.Updated(v); !t.IsZero() && t.UnixNano() > u.keys.Swap(t.UnixNano()) {
		go u.swapKeys() // ends with its timeout
	}
}
