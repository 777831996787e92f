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
	// redacted replaces a secret.
	redacted = "[redacted]"
	// unprintable replaces a value that cannot be printed: its methods panic, or it contains itself.
	unprintable = "[unprintable]"

	maxGroups = 16 // depth of nested groups
)

// redactor is a handler that removes secrets from records. It is immutable.
type redactor struct {
	next  slog.Handler
	names *secretNames
	// sealed is set if a group with the name of a secret is open.
	sealed bool
}

// NewRedactor returns a handler that removes secrets from records before it passes them to next. An attribute is secret
// if its key is, or ends with, token, ticket, secret, password, cookie, authorization, key, auth_signature or one of
// the names. Case, hyphens and underscores do not matter: access_token, apiKey and Proxy-Authorization are secret, and
// so are groups. True, false, nil and the empty string stay: they show whether there is a secret, but not the secret.
//
// All other text is searched: the message, strings, errors, and any value as it would be printed. NewRedactor removes
// what follows such a name in a query, in JSON or in a header field; what follows Bearer, also in the subprotocol
// bearer.…; compact JWTs; and passwords in URLs. A composite value that contains a secret becomes text, an error that
// of its Error. An slog.LogValuer is resolved. A record without secrets is passed on unchanged.
func NewRedactor(next slog.Handler, names ...string) slog.Handler {
	return &redactor{next: next, names: newSecretNames(names)}
}

// Enabled reports whether the next handler is enabled.
func (h *redactor) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// WithAttrs redacts the attributes and passes them on.
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

// Handle passes on the record, or a redacted copy of it.
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

// attr redacts an attribute, and reports whether that changed it. An attribute within a secret is sealed.
func (h *redactor) attr(a slog.Attr, sealed bool, depth int) (slog.Attr, bool) {
	key, changed := h.names.clean(a.Key)
	sealed = sealed || h.names.match(a.Key)
	v, c := h.value(a.Value, sealed, depth)
	return slog.Attr{Key: key, Value: v}, changed || c
}

func (h *redactor) value(v slog.Value, sealed bool, depth int) (slog.Value, bool) {
	resolved := v.Kind() == slog.KindLogValuer
	if resolved {
		v = v.Resolve() // Resolve handles panics, and values that resolve to each other forever
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

// sealedText redacts a string that is a secret.
func sealedText(v slog.Value, s string) (slog.Value, bool) {
	if s == "" || s == redacted {
		return v, false
	}
	return slog.StringValue(redacted), true
}

// group redacts attributes. It returns the given slice if nothing changes, and otherwise a copy.
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

// any redacts a value in each form in which a handler may print it. A value with a secret becomes text.
func (h *redactor) any(v slog.Value) (out slog.Value, changed bool) {
	defer func() {
		if p := recover(); p != nil { // a method of the value panicked, and would panic again
			out, changed = slog.StringValue(unprintable), true
		}
	}()
	switch x := v.Any().(type) {
	case nil, slog.Level:
		return v, false
	case error:
		s, c := h.names.clean(x.Error())
		if c {
			return slog.StringValue(s), true
		}
		if out, c = h.forms(v); c && !h.names.printed(s) {
			return slog.StringValue(s), true
		}
		return out, c
	case []byte:
		if s, c := h.names.clean(string(x)); c {
			return slog.StringValue(s), true
		}
	}
	return h.forms(v)
}

// forms redacts a value by what handlers print of it as text, in JSON, and as fmt does.
func (h *redactor) forms(v slog.Value) (out slog.Value, changed bool) {
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

// jsonText returns a value in JSON, as slog writes it, or "" if it has none. A cyclic value has none, and must not be
// printed in any other way: that would overflow the stack.
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
