package primary

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
	"github.com/expedite-go/expedite/session"
)

// livePage is what a machine answers to subjectLive: connections with sessions, by their ids.
type livePage struct {
	Conns []registry.LiveConn `json:"conns"`
	// Cut reports that there are further ones than the last, though fewer than the limit are here.
	Cut bool `json:"cut,omitempty"`
}

// answerLive answers another machine. A page that is too long for an answer is cut.
func (s *ControlServer) answerLive(ctx context.Context, data []byte) ([]byte, error) {
	var req registry.LiveRequest
	if err := json.Unmarshal(data, &req); err != nil {
		return nil, err
	}
	req.Limit = min(max(req.Limit, 0), registry.MaxLive)
	conns, err := s.registry.LiveConns(ctx, req)
	if err != nil {
		return nil, err
	}
	return encodeLive(livePage{Conns: conns}, relay.MaxAnswer)
}

// encodeLive encodes as much of a page as fits.
func encodeLive(p livePage, limit int) ([]byte, error) {
	for {
		b, err := json.Marshal(p)
		if err != nil || len(b) <= limit || len(p.Conns) <= 1 {
			return b, err
		}
		p.Conns, p.Cut = p.Conns[:len(p.Conns)/2], true
	}
}

// live lists connected sessions of all machines after a place, and names the machines that have not answered.
func (s *ControlServer) live(
	ctx context.Context, after string, limit int,
) (list []session.Session, missing []string, err error) {
	req, err := registry.ParseLive(after, limit)
	if err != nil {
		return nil, nil, err
	}
	question, err := json.Marshal(req)
	if err != nil {
		return nil, nil, err
	}
	own, err := s.registry.LiveConns(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	pages := []livePage{{Conns: own}}
	lost, askErr := s.askAll(ctx, relay.Question{Subject: subjectLive, Data: question}, func(_ uint64, b []byte) error {
		var p livePage
		err := json.Unmarshal(b, &p)
		pages = append(pages, p)
		return err
	})
	missing = names(lost)
	if askErr != nil {
		missing = append(missing, askErr.Error())
	}
	return s.registry.Describe(ctx, mergeLive(pages, limit)), missing, nil
}

// mergeLive returns the connections with the smallest ids. It ends with the last one of a page that was cut: others may
// follow there.
func mergeLive(pages []livePage, limit int) (all []registry.LiveConn) {
	end := ^connid.ID(0)
	for _, p := range pages {
		all = append(all, p.Conns...)
		if p.Cut && len(p.Conns) > 0 {
			end = min(end, p.Conns[len(p.Conns)-1].Conn)
		}
	}
	all = slices.DeleteFunc(all, func(c registry.LiveConn) bool { return c.Conn > end })
	slices.SortFunc(all, func(a, b registry.LiveConn) int { return cmp.Compare(a.Conn, b.Conn) })
	return all[:min(len(all), limit)]
}
