package presence

import (
	"context"
	"encoding/json"
	"fmt"
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
	return s.local(q.Topic), nil
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
