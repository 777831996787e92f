package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/connid"
)

// MaxMembers is the most ids in an answer to a MembersRequest.
const MaxMembers = 10_000

// MembersRequest asks a worker for the subscribers of a topic.
type MembersRequest struct {
	Topic string `json:"topic"`
	IDs   bool   `json:"ids"` // their ids, too
}

// Members are the subscribers of a topic in a worker. If there are more than MaxMembers, IDs has only some.
type Members struct {
	Count int         `json:"count"`
	IDs   []connid.ID `json:"ids,omitempty"`
}

// Subscribers are those of a topic on all machines.
type Subscribers struct {
	Count int `json:"count"`
	// Missing names machines that have not answered, for people, and Cause tells why there may be others.
	Missing []string `json:"missing,omitempty"`
	Cause   string   `json:"cause,omitempty"`
	// Busy reports that too many questions are asked at once: there is no answer.
	Busy bool `json:"busy,omitempty"`
}

// Subscribers returns the number of connections of this machine that are subscribed to a topic. Those that move between
// workers meanwhile are counted once.
func (s *Server) Subscribers(ctx context.Context, topic string) (int, error) {
	if !s.moving() {
		n, _, err := s.members(ctx, MembersRequest{Topic: topic}, nil)
		if err != nil || !s.moving() {
			return n, err
		}
	}
	req, seen := MembersRequest{Topic: topic, IDs: true}, make(map[connid.ID]struct{})
	if _, _, err := s.members(ctx, req, seen); err != nil {
		return 0, err
	}
	select {
	case <-time.After(orderAgain): // those that were on their way have arrived
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	_, unnamed, err := s.members(ctx, req, seen)
	return len(seen) + unnamed, err
}

// members asks all workers for the subscribers of a topic. It adds the ids to seen, and returns how many there are, and
// how many of them have no id in the answers.
func (s *Server) members(
	ctx context.Context, req MembersRequest, seen map[connid.ID]struct{},
) (count, unnamed int, err error) {
	b, err := json.Marshal(req)
	if err != nil {
		return 0, 0, err
	}
	for _, a := range s.ask(ctx, opMembers, b) {
		var m Members
		if a.err == nil && a.payload != nil {
			a.err = json.Unmarshal(a.payload, &m)
		}
		if a.err != nil {
			return 0, 0, fmt.Errorf("expedite: not every worker has answered: %w", a.err)
		}
		count += m.Count
		unnamed += m.Count - len(m.IDs)
		for _, id := range m.IDs {
			seen[id] = struct{}{}
		}
	}
	return count, unnamed, nil
}

// OnSubscribers sets what counts the subscribers of a topic on all machines. Before the first worker joins.
func (s *Server) OnSubscribers(f func(ctx context.Context, topic string) (Subscribers, error)) {
	s.subscribed = f
}

// countSubscribers answers a worker.
func (s *Server) countSubscribers(topic string, reply func([]byte, error)) {
	if s.subscribed == nil {
		reply(nil, errors.New("unknown request"))
		return
	}
	if !s.counting.acquire() {
		reply(json.Marshal(Subscribers{Busy: true}))
		return
	}
	go func() { // ends with the timeout of orders
		defer s.counting.release()
		ctx, cancel := context.WithTimeout(context.Background(), 2*orderTimeout)
		defer cancel()
		n, err := s.subscribed(ctx, topic)
		if err != nil {
			reply(nil, err)
			return
		}
		reply(json.Marshal(n))
	}()
}

// maxCounting is the number of topics whose subscribers are counted at once.
const maxCounting = 64

// slots bounds what is done at once.
type slots chan struct{}

func (s slots) acquire() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) release() { <-s }

// Subscribers counts the subscribers of a topic on all machines.
func (c *Client) Subscribers(ctx context.Context, topic string) (n Subscribers, err error) {
	if !c.greeted.Load() {
		return n, ErrNoRegistry
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout) // a primary that is replaced does not answer what it was asked
	defer cancel()
	b, err := c.peer.Call(ctx, opSubscribers, []byte(topic))
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return n, fmt.Errorf("expedite: %w", err)
	}
	return n, nil
}
