package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxDepth is how deep objects and lists of a token may lie in each other.
const maxDepth = 16

// Errors of decodeObject. None of them repeats the input.
var (
	errJSON      = errors.New("no JSON object")
	errUTF8      = errors.New("JSON that is no UTF-8")
	errDuplicate = errors.New("JSON with a name that stands twice in an object")
	errDeep      = errors.New("JSON that is nested too deeply")
)

// decodeObject reads a JSON object and nothing behind it. It is stricter than encoding/json, which takes the last of
// two equal names, and text that is no UTF-8: what two readers understand differently is refused. RFC 8725 §2.
func decodeObject(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errUTF8
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errJSON
	}
	object, err := decodeMembers(dec, 1)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return object, nil
}

// decodeMembers reads an object behind its opening brace.
func decodeMembers(dec *json.Decoder, depth int) (map[string]any, error) {
	object := make(map[string]any)
	for dec.More() {
		t, err := dec.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errJSON
		}
		if _, twice := object[name]; twice {
			return nil, errDuplicate
		}
		if object[name], err = decodeValue(dec, depth); err != nil {
			return nil, err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errJSON
	}
	return object, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, errJSON // a number that no float64 can hold
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, errDeep
	}
	if delim == '{' {
		return decodeMembers(dec, depth+1)
	}
	list := []any{}
	for dec.More() {
		v, err := decodeValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return nil, errJSON
	}
	return list, nil
}
