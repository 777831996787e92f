package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/expedite-go/expedite/internal/rpc"
)

const (
	// presenceTimeout bounds the time until the primary knows who is in a topic.
	presenceTimeout = 3 * time.Second
	// maxQueries is the number of queries of that kind that the primary answers at the same time.
	maxQueries = 256
)

// ErrBusy reports that the primary answers as many queries as it may.
var ErrBusy = errors.New("registry: too many queries")

// errNoPresence reports that nobody knows who is in a topic.
var errNoPresence = errors.New("no presence")

// OnPresence sets what answers who is in a topic. Before the first worker joins.
func (s *Server) OnPresence(f func(ctx context.Context, query []byte) ([]byte, error)) {
	s.presence = f
}

// servePresence answers who is in a topic.
func (s *Server) servePresence(payload []byte, reply func([]byte, error)) {
	switch {
	case s.presence == nil:
		reply(nil, errNoPresence)
		return
	case s.queries.Add(1) > maxQueries:
		s.queries.Add(-1)
		s.refusedQueries.Add(1)
		reply(nil, ErrBusy)
		return
	}
	query := bytes.Clone(payload)
	go func() { // ends with its timeout
		defer s.queries.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), presenceTimeout)
		defer cancel()
		reply(s.presence(ctx, query))
	}()
}

// RefusedQueries returns the number of queries that were refused because too many were being answered.
func (s *Server) RefusedQueries() uint64 { return s.refusedQueries.Load() }

// Presence asks the primary who is in a topic.
func (c *Client) Presence(ctx context.Context, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*presenceTimeout) // a primary that is replaced may not answer
	defer cancel()
	b, err := c.peer.Call(ctx, opPresence, query)
	switch {
	case errors.Is(err, rpc.ErrFailed) && strings.Contains(err.Error(), ErrBusy.Error()):
		return nil, ErrBusy
	case err != nil:
		return nil, fmt.Errorf("expedite: presence: %w", err)
	}
	return b, nil
}
