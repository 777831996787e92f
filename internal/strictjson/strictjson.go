// Package strictjson decodes JSON objects of which any two readers have the same understanding.
//
// It is stricter than encoding/json, which takes the last of two members with the same name and replaces invalid UTF-8:
// Object refuses both. RFC 8725 §2.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// maxDepth is how deeply objects and arrays may be nested.
const maxDepth = 16

// The errors of Object. None of them contains a part of the input, which may be secret.
var (
	errJSON      = errors.New("not a JSON object")
	errUTF8      = errors.New("JSON is not valid UTF-8")
	errDuplicate = errors.New("JSON object has two members of the same name")
	errDeep      = errors.New("JSON is nested too deeply")
)

// Encode returns object as compact JSON, or nothing if it is empty. It reports false if the JSON has more than limit
// bytes, or if a value cannot be encoded.
func Encode(object map[string]any, limit int) ([]byte, bool) {
	if len(object) == 0 {
		return nil, true
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return nil, false
	}
	b := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if len(b) > limit {
		return nil, false
	}
	return b, true
}

// Object decodes b, which must hold one JSON object and nothing after it. Values have the types of encoding/json:
// numbers are float64. Errors contain no part of b.
func Object(b []byte) (map[string]any, error) {
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

// decodeMembers decodes the rest of an object after its opening brace.
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
