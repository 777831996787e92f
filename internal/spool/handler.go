package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
)

// Handler is a slog.Handler that passes records on through a Queue, one record being of size 1. When records were lost,
// the next one that the other handler takes is followed by one that gives their number.
type Handler struct {
	next slog.Handler
	q    *Queue
	told *uint64 // losses that were reported; of the queue's goroutine
}

// NewHandler makes a Handler that passes records on to next. The Queue should have no other users.
func NewHandler(next slog.Handler, q *Queue) *Handler {
	return &Handler{next: next, q: q, told: new(uint64)}
}

// Queue is where records wait.
func (h *Handler) Queue() *Queue { return h.q }

// Enabled is that of the next handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs passes the attributes on.
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

// WithGroup opens a group.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &Handler{h.next.WithGroup(name), h.q, h.told}
}

// Handle queues a record. It never waits and never fails.
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

// tellLost reports losses behind the record r, which was taken.
func (h *Handler) tellLost(ctx context.Context, r slog.Record) error {
	lost := h.q.Lost()
	if lost == *h.told || !h.next.Enabled(ctx, slog.LevelWarn) {
		return nil
	}
	notice := slog.NewRecord(r.Time, slog.LevelWarn, "log lines were dropped: nothing took them in time", 0)
	notice.AddAttrs(slog.Uint64("lines", lost-*h.told))
	if h.next.Handle(ctx, notice) == nil { // else the next one tells
		*h.told = lost
	}
	return nil
}

// settle gives an attribute a value that its owner cannot change while it waits.
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

// fixed is a value as it is now: itself if nothing in it can change, else how handlers print it.
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
		if p := recover(); p != nil { // of a method of the value
			out = fmt.Sprintf("panic: %v", p)
		}
	}()
	b, err := json.Marshal(v)
	if e, ok := errors.AsType[*json.UnsupportedValueError](err); ok {
		return e.Error() // it contains itself: printing it in another way would end the process
	}
	text := fmt.Sprintf("%+v", v)
	if err != nil {
		return text
	}
	return printed{text, b}
}

// printed is a value as text, and in JSON.
type printed struct {
	text string
	json []byte
}

// String is the text.
func (p printed) String() string { return p.text }

// MarshalJSON is the JSON.
func (p printed) MarshalJSON() ([]byte, error) { return p.json, nil }

var _ slog.Handler = (*Handler)(nil)
