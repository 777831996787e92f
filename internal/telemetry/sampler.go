package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// Sampler allows a number of log lines per second and counts the others, so that many clients at once do not fill the
// log. Create one with [NewSampler]. It is safe for concurrent use.
type Sampler struct {
	limit uint32
	now   func() time.Time
	state atomic.Uint64 // the second in the upper half, the number of its lines in the lower
	left  atomic.Uint64
}

// NewSampler returns a Sampler that allows perSecond lines in each second of the clock, or none if perSecond is not
// positive. A nil now means time.Now.
func NewSampler(perSecond int, now func() time.Time) *Sampler {
	if now == nil {
		now = time.Now
	}
	return &Sampler{limit: uint32(min(max(perSecond, 0), 1<<30)), now: now}
}

// Allow reports whether one more line may be written now.
func (s *Sampler) Allow() bool {
	if s.limit == 0 {
		s.left.Add(1)
		return false
	}
	second := uint64(s.now().Unix()) << 32
	for {
		was := s.state.Load()
		next := second + 1
		if was>>32 == second>>32 {
			if uint32(was) >= s.limit {
				s.left.Add(1)
				return false
			}
			next = was + 1
		}
		if s.state.CompareAndSwap(was, next) {
			return true
		}
	}
}

// Suppressed returns the number of lines that were not allowed since its last call. The owner of the Sampler calls it
// about once a second and logs one line with the number if it is not 0.
func (s *Sampler) Suppressed() uint64 { return s.left.Swap(0) }

// Handler returns a handler that passes to next the records that s allows.
func (s *Sampler) Handler(next slog.Handler) slog.Handler { return sampled{next, s} }

type sampled struct {
	slog.Handler
	sampler *Sampler
}

// Handle implements slog.Handler.
func (h sampled) Handle(ctx context.Context, r slog.Record) error {
	if !h.sampler.Allow() {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h sampled) WithAttrs(attrs []slog.Attr) slog.Handler {
	return sampled{h.Handler.WithAttrs(attrs), h.sampler}
}

// WithGroup implements slog.Handler.
func (h sampled) WithGroup(name string) slog.Handler {
	return sampled{h.Handler.WithGroup(name), h.sampler}
}

var _ slog.Handler = sampled{}
