package strictjson_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/strictjson"
)

// TestObject accepts only what every reader understands in the same way.
func TestObject(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for _, tt := range []struct {
		name, in string
		ok       bool
	}{
		{"an object", `{"a":[1,{"b":null}],"c":"x"}`, true},
		{"space around it", " {} \n", true},
		{"the same name at two depths", `{"a":{"a":1}}`, true},
		{"16 levels", nested(16), true},
		{"17 levels", nested(17), false},
		{"nothing", "", false},
		{"an array", "[]", false},
		{"two objects", "{}{}", false},
		{"not closed", `{"a":1`, false},
		{"a name that occurs twice", `{"a":1,"a":1}`, false},
		{"a name that occurs twice once it is unescaped", `{"a":1,"\u0061":1}`, false},
		{"a name that occurs twice in an inner object", `{"x":[{"a":1,"a":1}]}`, false},
		{"invalid UTF-8", "{\"a\":\"\xff\"}", false},
		{"a number beyond float64", `{"a":1e999}`, false},
	} {
		got, err := strictjson.Object([]byte(tt.in))
		if (err == nil) != tt.ok || (got != nil) != tt.ok {
			t.Errorf("%s: got %v, %v, want ok %v", tt.name, got, err, tt.ok)
		}
	}
}

// FuzzObject: whatever is accepted, encoding/json understands in the same way, and Encode writes it again.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":null}],"c":"<x>"}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := strictjson.Object(b)
		if err != nil {
			return
		}
		var want map[string]any
		if err := json.Unmarshal(b, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %#v, want %#v, %v", got, want, err)
		}
		text, ok := strictjson.Encode(got, 1<<30)
		if !ok {
			t.Fatalf("%#v cannot be encoded", got)
		}
		if len(got) == 0 {
			return
		}
		if again, err := strictjson.Object(text); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("got %#v, %v, want %#v", again, err, got)
		}
	})
}
