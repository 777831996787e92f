package expeditetest

import (
	"cmp"
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/expedite-go/expedite/auth"
)

// tokens is the Verifier of the tokens that it has issued.
type tokens struct {
	mu     sync.Mutex
	issued map[string]auth.Identity
}

func newTokens() *tokens { return &tokens{issued: make(map[string]auth.Identity)} }

// issue returns a new token of id.
func (k *tokens) issue(id auth.Identity) string {
	token := "test-" + rand.Text()
	id.TokenID = cmp.Or(id.TokenID, auth.HashToken(token))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.issued[token] = id
	return token
}

// Verify implements auth.Verifier.
func (k *tokens) Verify(_ context.Context, token string) (*auth.Identity, error) {
	k.mu.Lock()
	id, ok := k.issued[token]
	k.mu.Unlock()
	switch {
	case !ok:
		return nil, &auth.Error{Reason: auth.ReasonUnknown}
	case id.Ended(time.Now()):
		return nil, &auth.Error{Reason: auth.ReasonExpired}
	}
	return id.Clone(), nil
}

var _ auth.Verifier = (*tokens)(nil)
