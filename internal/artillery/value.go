package artillery

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Values are nil, bool, float64, string, []any and map[string]any, as in JSON.

// appendText appends a value as text, as JavaScript does; lists and objects are appended as JSON, as artillery does.
func appendText(dst []byte, v any) []byte {
	if s, ok := v.(string); ok {
		return append(dst, s...)
	}
	return appendJSON(dst, v)
}

// appendJSON appends a value as JSON. Values that JSON cannot express become null.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendQuoted(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return strconv.AppendInt(dst, int64(v), 10)
		}
	case bool:
		return strconv.AppendBool(dst, v)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(v) != nil {
		return append(dst, "null"...)
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte{'\n'})...)
}

// appendQuoted appends text as a string of JSON.
func appendQuoted(dst []byte, s string) []byte {
	plain := func(r rune) bool { return r >= ' ' && r < 0x7f && r != '"' && r != '\\' }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return append(append(append(dst, '"'), s...), '"')
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // cannot fail for text
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte{'\n'})...)
}

// value returns the value of the node.
func (n *node) value() any {
	switch n.kind {
	case boolean:
		return n.truth
	case number:
		return n.num
	case text:
		return n.text
	case list:
		items := make([]any, len(n.items))
		for i, item := range n.items {
			items[i] = item.value()
		}
		return items
	case object:
		fields := make(map[string]any, len(n.fields))
		for _, f := range n.fields {
			fields[f.key] = f.value.value()
		}
		return fields
	}
	return nil
}

// scripted returns the fields in JavaScript's order: keys that are array indices come first, sorted numerically.
func (n *node) scripted() []field {
	fields := slices.Clone(n.fields)
	slices.SortStableFunc(fields, func(a, b field) int {
		i, aIs := index(a.key)
		j, bIs := index(b.key)
		switch {
		case aIs && bIs:
			return i - j
		case aIs:
			return -1
		case bIs:
			return 1
		}
		return 0
	})
	return fields
}

// index parses a key that is an array index in canonical form.
func index(key string) (int, bool) {
	i, err := strconv.Atoi(key)
	return i, err == nil && i >= 0 && strconv.Itoa(i) == key
}

// toNumber converts a value like JavaScript's Number. It returns false for NaN and infinities.
func toNumber(v any) (f float64, ok bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		s := strings.TrimSpace(v)
		if s == "" {
			return 0, true
		}
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) && !strings.ContainsAny(s, "_xXpP")
	case nil:
		return 0, true
	}
	return 0, false
}
