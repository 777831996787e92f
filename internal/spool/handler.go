package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
)

// Handler is a slog.Handler that passes records to another handler through a Queue. A record has size 1. After
// records were dropped, the next record that the other handler accepts is followed by one with their number.
type Handler struct {
	next slog.Handler
	q    *Queue
	told *uint64 // number of losses that were reported; used by the queue's goroutine only
}

// NewHandler returns a Handler that passes records to next. The Queue should have no other users.
func NewHandler(next slog.Handler, q *Queue) *Handler {
	return &Handler{next: next, q: q, told: new(uint64)}
}

// Queue returns the queue of the records.
func (h *Handler) Queue() *Queue { return h.q }

// Enabled reports whether the next handler is enabled for a level.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs returns a Handler whose next handler has the attributes. Their values are fixed at this time.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	kept := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		kept[i] = settle(a)
	}
	return &Handler{h.next.WithAttrs(kept), h.q, h.told}
}

// WithGroup returns a Handler whose next handler has opened a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &Handler{h.next.WithGroup(name), h.q, h.told}
}

// Handle queues a record. It never blocks and never fails.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	settled := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		settled.AddAttrs(settle(a))
		return true
	})
	ctx = context.WithoutCancel(ctx)
	h.q.Put(1, func() error {
		if err := h.next.Handle(ctx, settled); err != nil {
			return err
		}
		return h.tellLost(ctx, r)
	})
	return nil
}

// tellLost reports losses after the record r, which was accepted.
func (h *Handler) tellLost(ctx context.Context, r slog.Record) error {
	lost := h.q.Lost()
	if lost == *h.told || !h.next.Enabled(ctx, slog.LevelWarn) {
		return nil
	}
	notice := slog.NewRecord(r.Time, slog.LevelWarn, "log lines were dropped: the output was too slow", 0)
	notice.AddAttrs(slog.Uint64("lines", lost-*h.told))
	if h.next.Handle(ctx, notice) == nil { // otherwise the next record reports them
		*h.told = lost
	}
	return nil
}

// settle returns an attribute whose value cannot change while it is queued.
func settle(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		attrs := make([]slog.Attr, len(v.Group()))
		for i, in := range v.Group() {
			attrs[i] = settle(in)
		}
		v = slog.GroupValue(attrs...)
	case slog.KindAny:
		v = slog.AnyValue(fixed(v.Any()))
	}
	return slog.Attr{Key: a.Key, Value: v}
}

// fixed returns a value that cannot change: v itself if that is immutable, and otherwise its text and JSON as handlers
// print them.
func fixed(v any) (out any) {
	if _, ok := v.(error); ok || v == nil {
		return v
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Array, reflect.Struct:
	default:
		return v
	}
	defer func() {
		if p := recover(); p != nil { // a method of the value has panicked
			out = fmt.Sprintf("panic: %v", p)
		}
	}()
	b, err := json.Marshal(v)
	if e, ok := errors.AsType[*json.UnsupportedValueError](err); ok {
		return e.Error() // the value contains itself; formatting it with %+v would overflow the stack
	}
	text := fmt.Sprintf("%+v", v)
	if err != nil {
		return text
	}
	return printed{text, b}
}

// printed is a value as text and as JSON.
type printed struct {
	text string
	json []byte
}

// String returns the text.
func (p printed) String() string { return p.text }

// MarshalJSON returns the JSON.
func (p printed) MarshalJSON() ([]byte, error) { return p.json, nil }

var _ slog.Handler = (*Handler)(nil)
