package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/redisfeed"
)

// parseDenials reads what denylist.Append wrote, one after the other.
func parseDenials(b []byte) (list []denylist.Entry, err error) {
	for len(b) > 0 {
		d, n, err := denylist.Parse(b)
		if err != nil {
			return list, err
		}
		list = append(list, d)
		b = b[n:]
	}
	return list, nil
}

// feedEntry returns a denial as it is kept in the feed. It is the same on every machine.
func feedEntry(d denylist.Entry) ([]byte, error) {
	return json.Marshal(Order{
		Kind: string(d.Kind), Value: d.Value, Until: d.Until.UTC().Truncate(time.Second),
		Code: CodeRevoked, Reason: RevokedReason,
	})
}

// publish tells the other machines.
func (s *Server) publish(ctx context.Context, o Order) error {
	if s.feed == nil {
		return nil
	}
	var b []byte
	var err error
	if d, ok := o.Denial(); ok {
		b, err = feedEntry(d)
	} else {
		o.Node, o.Said = s.node, time.Now().UnixNano()
		b, err = json.Marshal(o)
	}
	if err != nil {
		return err
	}
	return s.feed.Publish(ctx, b, o.Until)
}

// published describes for people what became of an order on other machines. The warning is empty if all is well.
func published(o Order, err error) (stored bool, warning string) {
	_, denial := o.Denial()
	switch {
	case err == nil:
		return true, ""
	case errors.Is(err, redisfeed.ErrUnannounced):
		return true, fmt.Sprintf("other machines learn of it within 10 s, not at once: %v", err)
	case denial:
		return false, fmt.Sprintf("other machines learn of it only when Redis accepts it: %v", err)
	default:
		return false, fmt.Sprintf("other machines were not told: %v", err)
	}
}

// inForce returns the revocations that are in force here, which must be in the feed.
func (s *Server) inForce() iter.Seq2[[]byte, time.Time] {
	return func(yield func([]byte, time.Time) bool) {
		for _, d := range s.deny.All(time.Now()) {
			if b, err := feedEntry(d); err == nil && !yield(b, d.Until) {
				return
			}
		}
	}
}

// received carries out entries of the feed, this machine's own among them.
func (s *Server) received(entries [][]byte) {
	var orders []Order
	var denials, fresh []denylist.Entry
	for _, entry := range entries {
		var o Order
		if err := json.Unmarshal(entry, &o); err != nil {
			s.log.Warn("order of another machine not understood", "error", err)
			continue
		}
		d, ok := o.Denial()
		switch {
		case !ok && o.Node == s.node:
		case !ok:
			orders = append(orders, o)
		case s.knows(d): // it was given here, or received before
		default:
			if err := s.deny.Add(d, time.Now()); err != nil {
				s.log.Error("revocation of another machine is not on the deny list", "error", err)
				orders = append(orders, o)
				continue
			}
			denials, fresh = append(denials, d), append(fresh, d)
			if len(entries) == 1 {
				orders, denials = append(orders, o), nil
			}
		}
	}
	if err := s.file.add(fresh...); err != nil {
		s.log.Error("revocations of other machines are not kept on disk", "error", err)
	}
	for _, o := range orders {
		ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
		if _, err := s.carryOut(ctx, o); err != nil {
			s.log.Error("order of another machine not carried out by all workers", "error", err)
		}
		cancel()
	}
	s.spread(denials)
}

// knows reports whether the deny list covers a denial already.
func (s *Server) knows(d denylist.Entry) bool {
	value := func(kind denylist.Kind) string {
		if d.Kind == kind {
			return d.Value
		}
		return ""
	}
	user, token, session := value(denylist.User), value(denylist.Token), value(denylist.Session)
	_, known := s.deny.Denies(user, token, session, d.Until.Add(-time.Second))
	return known
}

// spread tells all workers of many denials at once: each examines its connections once for all of them.
func (s *Server) spread(denials []denylist.Entry) {
	for len(denials) > 0 {
		var b []byte
		n := 0
		for n < len(denials) && len(b) < pageBytes {
			b = denylist.Append(b, denials[n])
			n++
		}
		denials = denials[n:]
		ctx, cancel := context.WithTimeout(context.Background(), orderTimeout)
		_, err := s.twice(ctx, func() (closed int, err error) { return s.tell(ctx, opDenials, b) })
		if cancel(); err != nil {
			s.log.Error("revocations of other machines are not known to all workers", "error", err)
		}
	}
}
