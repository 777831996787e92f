package artillery

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// readJSON reads a script in JSON. JSON is nearly a subset of YAML, but the YAML parser rejects tabs and some escapes.
func readJSON(file string, b []byte) (*node, error) {
	r := jsonReader{budget: budget{file: file}, text: b, line: 1, dec: json.NewDecoder(bytes.NewReader(b))}
	tok, err := r.token()
	if errors.Is(err, io.EOF) {
		return nil, &Error{File: file, Reason: "the script is empty"}
	}
	var n *node
	if err == nil {
		n, err = r.node(tok, "", 0)
	}
	if err == nil {
		if tok, err = r.token(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err == nil {
			err = fmt.Errorf("want one value, got %v after it", tok)
		}
	}
	var e *Error
	if errors.As(err, &e) {
		return nil, err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, &Error{File: file, Line: r.line, Reason: err.Error()}
}

type jsonReader struct {
	budget
	dec  *json.Decoder
	text []byte
	seen int // bytes whose lines have been counted
	line int
}

// token reads the next token and updates the line.
func (r *jsonReader) token() (json.Token, error) {
	tok, err := r.dec.Token()
	end := min(int(r.dec.InputOffset()), len(r.text))
	var e *json.SyntaxError
	if errors.As(err, &e) {
		end = min(max(end, int(e.Offset)), len(r.text))
	}
	r.line += bytes.Count(r.text[r.seen:end], []byte{'\n'})
	r.seen = end
	return tok, err
}

func (r *jsonReader) node(tok json.Token, path string, depth int) (*node, error) {
	n, err := r.budget.node(null, r.line, path, depth)
	if err != nil {
		return nil, err
	}
	switch v := tok.(type) {
	case bool:
		n.kind, n.truth = boolean, v
	case float64:
		n.kind, n.num = number, v
	case string:
		n.kind, n.text = text, v
	case json.Delim:
		n.kind = object
		if v == '[' {
			n.kind = list
		}
		return n, r.inside(n, depth+1)
	}
	return n, nil
}

// inside reads the contents of a list or an object.
func (r *jsonReader) inside(n *node, depth int) error {
	for {
		tok, err := r.token()
		if err != nil {
			return err
		}
		if d, ok := tok.(json.Delim); ok && (d == ']' || d == '}') {
			return nil
		}
		if n.kind == list {
			v, err := r.node(tok, at(n.path, len(n.items)), depth)
			if err != nil {
				return err
			}
			n.items = append(n.items, v)
			continue
		}
		key, line := tok.(string), r.line // the decoder accepts nothing but strings as keys
		if tok, err = r.token(); err != nil {
			return err
		}
		v, err := r.node(tok, join(n.path, key), depth)
		if err != nil {
			return err
		}
		if err := n.add(field{key, line, v}); err != nil {
			return err
		}
	}
}
