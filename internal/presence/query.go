package presence

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/expedite-go/expedite/backplane"
)

// Query asks who is in a topic. It is written as JSON; fields may be added.
type Query struct {
	Topic string `json:"topic"`
}

// Answer tells who is in a topic. It is written as JSON; fields may be added.
type Answer struct {
	// Count is the number of members.
	Count int `json:"count"`
	// Members are listed unless there are more than the rule lists: then Truncated is set.
	Members   []AnswerMember `json:"members,omitempty"`
	Truncated bool           `json:"truncated,omitempty"`
	// Partial tells that only the members of this machine are known at present.
	Partial bool `json:"partial,omitempty"`
}

// AnswerMember is a Member. Info may be any bytes.
type AnswerMember struct {
	ID   string `json:"id"`
	Info []byte `json:"info,omitempty"`
}

// Ask answers a Query.
func (s *Server) Ask(ctx context.Context, q Query) (Answer, error) {
	a := s.local(q.Topic)
	rule, ok := s.cfg.Rules.Find(q.Topic)
	if s.cfg.Plane == nil || !ok {
		return a, nil
	}
	var all backplane.Members
	if err := s.limited(ctx, func(ctx context.Context) (err error) {
		all, err = s.cfg.Plane.Members(ctx, q.Topic, rule.MaxListed)
		return err
	}); err != nil {
		a.Partial = true
		return a, nil
	}
	return merge(a, all, rule.MaxListed), nil
}

// merge adds to the members of all machines those of this one that it was not told yet.
func merge(local Answer, all backplane.Members, most int) Answer {
	a := Answer{Count: all.Count, Truncated: all.Count > most}
	if a.Truncated {
		return a
	}
	known := make(map[string]bool, len(all.List))
	for _, m := range all.List {
		known[m.ID] = true
		a.Members = append(a.Members, AnswerMember{ID: m.ID, Info: []byte(m.Info)})
	}
	for _, m := range local.Members {
		if !known[m.ID] {
			a.Count++
			a.Members = append(a.Members, m)
		}
	}
	slices.SortFunc(a.Members, func(a, b AnswerMember) int { return cmp.Compare(a.ID, b.ID) })
	return a
}

// local returns who is in a topic on this machine.
func (s *Server) local(name string) (a Answer) {
	var list []Member
	a.Count, list, a.Truncated = s.List(name)
	for _, m := range list {
		a.Members = append(a.Members, AnswerMember{ID: m.ID, Info: []byte(m.Info)})
	}
	return a
}

// Serve answers a Query in JSON.
func (s *Server) Serve(ctx context.Context, query []byte) ([]byte, error) {
	var q Query
	if err := json.Unmarshal(query, &q); err != nil {
		return nil, fmt.Errorf("presence: %w", err)
	}
	a, err := s.Ask(ctx, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}
