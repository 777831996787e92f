package ws

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseExtensions follows RFC 6455 §9.1. The result is written as name{parameter=value …}.
func TestParseExtensions(t *testing.T) {
	const malformed = "malformed"
	rows := []struct {
		name   string
		values []string
		want   string
	}{
		{"no field", nil, ""},
		{"an empty field", []string{""}, ""},
		{"empty elements", []string{", ,a,\t,b ,"}, "a{} b{}"},
		{"the examples", []string{"foo", "bar; baz=2"}, "foo{} bar{baz=2}"},
		{"in one field", []string{"foo, bar; baz=2"}, "foo{} bar{baz=2}"},
		{"in another order", []string{"bar; baz=2, foo"}, "bar{baz=2} foo{}"},
		{"parameters without values", []string{"a; b; c=1; d"}, "a{b c=1 d}"},
		{"repeated parameters are kept", []string{"a; b=1; b=2"}, "a{b=1 b=2}"},
		{"a quoted value", []string{`a; b="10"`}, "a{b=10}"},
		{"a quoted pair", []string{`a; b="1\0"`}, "a{b=10}"},
		{"white space around separators", []string{" a\t; b =\t1 ,  c"}, "a{b=1} c{}"},
		{"no white space", []string{"a;b=1,c;d"}, "a{b=1} c{d}"},
		{"a comma within quotes", []string{`a; b="1,2"`}, malformed},
		{"a quoted value that is no token", []string{`a; b="1 2"`}, malformed},
		{"an empty quoted value", []string{`a; b=""`}, malformed},
		{"quotes that do not end", []string{`a; b="1`}, malformed},
		{"a backslash at the end", []string{`a; b="1\`}, malformed},
		{"something behind the quotes", []string{`a; b="1"2`}, malformed},
		{"no value behind the sign", []string{"a; b="}, malformed},
		{"no parameter behind the semicolon", []string{"a;"}, malformed},
		{"an empty parameter", []string{"a;;b"}, malformed},
		{"no name", []string{"; b"}, malformed},
		{"a name with a value", []string{"a=1"}, malformed},
		{"two names", []string{"a b"}, malformed},
		{"two values", []string{"a; b=1 2"}, malformed},
		{"a quoted name", []string{`"a"`}, malformed},
		{"bytes that no token has", []string{"a\x80"}, malformed},
		{"malformed in a later field", []string{"a", "b;"}, malformed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			list, err := ParseExtensions(row.values)
			if got := written(list); got != row.want && row.want != malformed || (err != nil) != (row.want == malformed) {
				t.Errorf("got %q, %v, want %q", got, err, row.want)
			}
		})
	}
}

func written(list []Extension) string {
	var all []string
	for _, e := range list {
		var params []string
		for _, f := range e.Params {
			if f.Value != "" {
				f.Name += "=" + f.Value
			}
			params = append(params, f.Name)
		}
		all = append(all, fmt.Sprintf("%s{%s}", e.Name, strings.Join(params, " ")))
	}
	return strings.Join(all, " ")
}

// TestExtensionsOfAHandshake offers an extension, and passes the answer from one end to the other.
func TestExtensionsOfAHandshake(t *testing.T) {
	c := sampleClient()
	c.Extensions = "permessage-deflate; client_max_window_bits"
	head, err := c.AppendRequest(nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(head)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Get("Sec-WebSocket-Extensions"); got != c.Extensions {
		t.Errorf("got %q, want %q", got, c.Extensions)
	}
	h, err := r.Negotiate(nil)
	if err != nil || h.Extensions != "" {
		t.Fatalf("got %q, %v, want no extension without the caller", h.Extensions, err)
	}
	h.Extensions = "permessage-deflate; client_max_window_bits=10"
	answer, err := AppendResponse(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ParseResponse(answer)
	if err != nil || got.Extensions != h.Extensions || got.Accept != h.Accept {
		t.Errorf("got %+v, %v, want %+v", got, err, h)
	}
	two := strings.Replace(string(answer), "permessage-deflate; ", "a\r\nSec-WebSocket-Extensions: ,b; ", 1)
	if got, err := c.ParseResponse([]byte(two)); got.Extensions != "a, ,b; client_max_window_bits=10" || err != nil {
		t.Errorf("got %q, %v, want the values of both fields", got.Extensions, err)
	}
	c.Extensions = ""
	if got, err := c.ParseResponse(answer); err == nil {
		t.Errorf("got %+v, want an error: nothing was offered", got)
	}
}

func FuzzParseExtensions(f *testing.F) {
	f.Add("permessage-deflate; client_max_window_bits, permessage-deflate")
	f.Add(`a; b="1\0" , ;`)
	f.Add(`x-webkit-deflate-frame,,a;b=c`)
	f.Fuzz(func(t *testing.T, value string) {
		list, err := ParseExtensions([]string{value})
		if err != nil {
			if list != nil {
				t.Fatalf("got %v with %v", list, err)
			}
			return
		}
		var parts []string
		for _, e := range list { // what was parsed can be written, and parses to the same
			part := e.Name
			for _, p := range e.Params {
				if !isToken(p.Name) || p.Value != "" && !isToken(p.Value) {
					t.Fatalf("got %q", p)
				}
				part += ";" + p.Name
				if p.Value != "" {
					part += "=" + p.Value
				}
			}
			parts = append(parts, part)
		}
		again, err := ParseExtensions(parts)
		if err != nil || written(again) != written(list) {
			t.Fatalf("got %q, %v, want %q", written(again), err, written(list))
		}
	})
}
