package telemetry

import (
	"bytes"
	"context"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

const (
	// redacted stands where a secret was.
	redacted = "[redacted]"
	// unprintable stands for a value that cannot be printed without harm: that panics, or contains itself.
	unprintable = "[unprintable]"

	maxGroups = 16 // how deep groups may stand in groups
)

// redactor is a handler that takes secrets out of records. It is never changed.
type redactor struct {
	next  slog.Handler
	names *secretNames
	// sealed: a group with the name of a secret is open.
	sealed bool
}

// NewRedactor makes a handler that passes records on without the secrets in them. An attribute is one if its key is,
// or ends with, token, ticket, secret, password, cookie, authorization, key, auth_signature or one of the names: case,
// hyphens and underscores do not count, so access_token, apiKey and Proxy-Authorization are found, and so are groups.
// True, false, nil and the empty string are left: they tell that there is a secret, not which.
//
// All other text is searched: the message, strings, errors, and any value as it would be printed. What is found is
// what stands behind such a name in a query, in JSON or in a head of HTTP; what follows Bearer, also in the subprotocol
// bearer.…; compact JWTs; passwords in URLs. Of a composite value that has a secret, only its text remains. An
// slog.LogValuer is resolved. A record in which nothing is found goes on as it is.
func NewRedactor(next slog.Handler, names ...string) slog.Handler {
	return &redactor{next: next, names: newSecretNames(names)}
}

// Enabled is that of the next handler.
func (h *redactor) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs passes the attributes on, redacted.
func (h *redactor) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	attrs, _ = h.group(attrs, h.sealed, 0)
	return &redactor{h.next.WithAttrs(attrs), h.names, h.sealed}
}

// WithGroup opens a group.
func (h *redactor) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	clean, _ := h.names.clean(name)
	return &redactor{h.next.WithGroup(clean), h.names, h.sealed || h.names.match(name)}
}

// Handle passes a record on, or a redacted copy.
func (h *redactor) Handle(ctx context.Context, r slog.Record) error {
	message, changed := h.names.clean(r.Message)
	var room [8]slog.Attr
	attrs := room[:0]
	r.Attrs(func(a slog.Attr) bool {
		a, c := h.attr(a, h.sealed, 0)
		attrs, changed = append(attrs, a), changed || c
		return true
	})
	if !changed {
		return h.next.Handle(ctx, r)
	}
	clean := slog.NewRecord(r.Time, r.Level, message, r.PC)
	clean.AddAttrs(attrs...)
	return h.next.Handle(ctx, clean)
}

// attr redacts an attribute, and says whether that changed it. Sealed: it is within a secret.
func (h *redactor) attr(a slog.Attr, sealed bool, depth int) (slog.Attr, bool) {
	key, changed := h.names.clean(a.Key)
	sealed = sealed || h.names.match(a.Key)
	v, c := h.value(a.Value, sealed, depth)
	return slog.Attr{Key: key, Value: v}, changed || c
}

func (h *redactor) value(v slog.Value, sealed bool, depth int) (slog.Value, bool) {
	resolved := v.Kind() == slog.KindLogValuer
	if resolved {
		v = v.Resolve() // which bears panics, and values that resolve to each other for ever
	}
	changed := false
	switch v.Kind() {
	case slog.KindBool:
	case slog.KindString:
		if s := v.String(); sealed {
			v, changed = sealedText(v, s)
		} else if s, changed = h.names.clean(s); changed {
			v = slog.StringValue(s)
		}
	case slog.KindGroup:
		if sealed || depth >= maxGroups {
			return slog.StringValue(redacted), true
		}
		var attrs []slog.Attr
		if attrs, changed = h.group(v.Group(), false, depth+1); changed {
			v = slog.GroupValue(attrs...)
		}
	case slog.KindAny:
		if sealed && v.Any() != nil {
			v, changed = slog.StringValue(redacted), true
		} else if !sealed {
			v, changed = h.any(v)
		}
	default: // numbers and times
		if sealed {
			v, changed = slog.StringValue(redacted), true
		}
	}
	return v, changed || resolved
}

// sealedText is the value of a secret that is a string.
func sealedText(v slog.Value, s string) (slog.Value, bool) {
	if s == "" || s == redacted {
		return v, false
	}
	return slog.StringValue(redacted), true
}

// group redacts attributes. Without a change it returns what it was given, else a copy.
func (h *redactor) group(attrs []slog.Attr, sealed bool, depth int) ([]slog.Attr, bool) {
	var clean []slog.Attr
	for i, a := range attrs {
		a, changed := h.attr(a, sealed, depth)
		if changed && clean == nil {
			clean = append(make([]slog.Attr, 0, len(attrs)), attrs[:i]...)
		}
		if clean != nil {
			clean = append(clean, a)
		}
	}
	if clean == nil {
		return attrs, false
	}
	return clean, true
}

// any redacts a value by each way in which a handler may print it. A value of a secret becomes text.
func (h *redactor) any(v slog.Value) (out slog.Value, changed bool) {
	defer func() {
		if p := recover(); p != nil { // of a method of the value, which would panic again
			out, changed = slog.StringValue(unprintable), true
		}
	}()
	switch x := v.Any().(type) {
	case nil, slog.Level:
		return v, false
	case error:
		if s, c := h.names.clean(x.Error()); c {
			return slog.StringValue(s), true
		}
	case []byte:
		if s, c := h.names.clean(string(x)); c {
			return slog.StringValue(s), true
		}
	}
	if x, ok := v.Any().(encoding.TextMarshaler); ok {
		if text, err := x.MarshalText(); err == nil {
			if s, c := h.names.clean(string(text)); c {
				return slog.StringValue(s), true
			}
		}
	}
	text, cyclic := jsonText(v.Any())
	if cyclic {
		return slog.StringValue(unprintable), true
	}
	if s, c := h.names.clean(text); c {
		return slog.StringValue(s), true
	}
	text = fmt.Sprintf("%+v", v.Any())
	if s, c := h.names.clean(text); c {
		return slog.StringValue(s), true
	}
	if h.names.printed(text) {
		return slog.StringValue(redacted), true
	}
	return v, false
}

// jsonText is a value in JSON, as slog writes it: empty if it has none. A cyclic one has none, and must not be printed
// in any other way: that would end the process.
func jsonText(v any) (text string, cyclic bool) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		e, ok := errors.AsType[*json.UnsupportedValueError](err)
		return "", ok && strings.Contains(e.Str, "cycle")
	}
	return strings.TrimSuffix(b.String(), "\n"), false
}

var _ slog.Handler = (*redactor)(nil)
