package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// goldenInheritance is the content of testdata/inheritance-v1.json. A program must be able to read what any program
// of that version has written: do not change either, but add a new version.
func goldenInheritance() *inheritance {
	began := time.Date(2026, 11, 23, 20, 15, 30, 123456789, time.UTC)
	return &inheritance{
		Version: 1, Generation: 3, NextID: 9, MoveIDs: 4,
		Slots: []inheritedSlot{{1, 2, nil, 0}, {2, 5, []string{"ROLE=indexer", "EMPTY="}, 3}, {4, 1, nil, 1}},
		Workers: []inheritedWorker{
			{
				ID: 8, Slot: 1, Generation: 2, PID: 4242, State: StateReady, Load: 1000, Passed: 12345,
				Began: began, Link: 11,
				Rest: []byte{7, 0, 0, 0, 1, 2, 'h'}, RestFDs: [][]int{{20, 21}, {22}}, Output: []int{12, 13},
				Stderr: []byte("last words\n"),
			},
			{
				ID: 9, Slot: 2, Generation: 5, PID: 4243, State: StateDraining, Wanted: true, Dismissed: true, Began: began,
				Link: -1, Output: []int{14},
			},
		},
		Acceptors: []int{6, 7},
		Shared:    []inheritedSocket{{Key: "\x00\x00\x00\x00tcp\x00:0", Kind: handleTCPListener, FD: 15, Users: []uint64{8, 9}}},
		Files:     map[string]int{"admin": 16, "control": 17},
		Rolled:    RollTotals{Moved: 5000, Drained: 2, Failed: 1, Last: 1500 * time.Millisecond},
		Stats: Stats{
			Accepted: 1, Passed: 2, Redistributed: 3, Refused: 4, AcceptErrors: 5, Restarts: 6, Overloads: 7, HandlesLost: 8,
		},
	}
}

// framed returns the encoding of an inheritance that is given in JSON.
func framed(text string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
}

func TestGoldenInheritanceStaysReadable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "inheritance-v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	h, app, err := parseInheritance(append(framed(string(text)), "state of the application"...))
	if err != nil {
		t.Fatal(err)
	}
	if string(app) != "state of the application" {
		t.Errorf("application's part %q", app)
	}
	if want := goldenInheritance(); !reflect.DeepEqual(h, want) {
		t.Errorf("inheritance\n%+v, want\n%+v", h, want)
	}
	b, err := goldenInheritance().encode([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	var now, golden any // what this program writes has the field names of the file
	if err := errors.Join(json.Unmarshal(b[8:len(b)-1], &now), json.Unmarshal(text, &golden)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(now, golden) {
		t.Errorf("written:\n%s\nwant\n%s", b[8:], text)
	}
}

func TestParseInheritance(t *testing.T) {
	whole := `"version":1,"slots":[{"number":1},{"number":2}],"workers":[{"id":3,"slot":1,"pid":7}]`
	length := func(n uint64, text string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, n), text...)
	}
	tests := []struct {
		name, want string // the end of the error; empty is none
		in         []byte
	}{
		{"nothing", "truncated", nil},
		{"a part of the length", "truncated", make([]byte, 7)},
		{"a length alone", "unexpected end of JSON input", make([]byte, 8)},
		{"less than it says", "truncated", length(3, "{}")},
		{"a length that overflows", "truncated", length(1<<63, "{}")},
		{"the largest length", "truncated", length(1<<64-1, "{}")},
		{"no JSON", "invalid character 'x' looking for beginning of value", framed("x")},
		{"JSON that is no object", "cannot unmarshal array into Go value of type cluster.inheritance", framed("[]")},
		{"null", "version 0; this program reads version 1", framed("null")},
		{"a later version", "version 2; this program reads version 1", framed(`{"version":2}`)},
		{"an earlier version", "version 0; this program reads version 1", framed(`{"slots":[]}`)},
		{"slot 0", "slot 0", framed(`{"version":1,"slots":[{"number":0}]}`)},
		{"a slot below zero", "slot -1", framed(`{"version":1,"slots":[{"number":-1}]}`)},
		{"a slot beyond the limit", "slot 1001", framed(`{"version":1,"slots":[{"number":1001}]}`)},
		{"a slot twice", "slot 2", framed(`{"version":1,"slots":[{"number":2},{"number":2}]}`)},
		{"a worker without a slot", "worker 3 of slot 1", framed(`{"version":1,"workers":[{"id":3,"slot":1,"pid":7}]}`)},
		{"a worker without a process", "worker 3 of slot 1", framed("{" + strings.Replace(whole, "7", "0", 1) + "}")},
		{"a process below zero", "worker 3 of slot 1", framed("{" + strings.Replace(whole, "7", "-7", 1) + "}")},
		{
			"two workers of one slot", "worker 4 of slot 1",
			framed(`{"version":1,"slots":[{"number":1}],"workers":[{"id":3,"slot":1,"pid":7},{"id":4,"slot":1,"pid":8}]}`),
		},
		{
			"a state that there is not", "worker 3 of slot 1",
			framed("{" + strings.Replace(whole, `"pid"`, `"state":5,"pid"`, 1) + "}"),
		},
		{"a worker in each slot", "", framed("{" + whole + "}")},
		{"an empty slot", "", framed(`{"version":1,"slots":[{"number":1000}]}`)},
		{"fields of a later program", "", framed(`{"version":1,"later":{"a":[1]},"slots":[{"number":1,"b":2}]}`)},
		{"nothing but the version", "", framed(`{"version":1}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, _, err := parseInheritance(tt.in)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.want == "" && h == nil:
				t.Error("nothing")
			case tt.want != "" && (!errors.Is(err, errInheritance) || !strings.HasSuffix(err.Error(), tt.want)):
				t.Errorf("error %v, want %s", err, tt.want)
			case tt.want != "" && h != nil:
				t.Errorf("%+v beside an error", h)
			}
		})
	}
}

func FuzzParseInheritance(f *testing.F) {
	if text, err := os.ReadFile(filepath.Join("testdata", "inheritance-v1.json")); err == nil {
		f.Add(append(framed(string(text)), "app"...))
	}
	f.Add([]byte{})
	f.Add(framed(`{"version":1,"slots":[{"number":1}],"workers":[{"id":3,"slot":1,"pid":7,"rest_fds":[null,[]]}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, app, err := parseInheritance(in)
		if err != nil {
			return
		}
		h.descriptors() // must not panic
		b, err := h.encode(app)
		if err != nil {
			t.Fatal(err)
		}
		again, appAgain, err := parseInheritance(b)
		if err != nil {
			t.Fatalf("%q does not read back: %v", b, err)
		}
		twice, err := again.encode(appAgain)
		if err != nil || !bytes.Equal(b, twice) {
			t.Fatalf("%q reads back as %q, %v", b, twice, err)
		}
	})
}

func TestInheritOfNonsense(t *testing.T) {
	for _, tt := range []struct{ name, env string }{
		{"words", "what"},
		{"no number", "fd=x check=true"},
		{"a file that is not open", "fd=1048575 check=true"},
		{"a number below zero", "fd=-1 check=false"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(inheritanceEnv, tt.env)
			if i, err := Inherit(); !errors.Is(err, errInheritance) || i != nil {
				t.Errorf("%v, %v, want a bad inheritance", i, err)
			}
			if os.Getenv(inheritanceEnv) != "" {
				t.Error("children see the variable")
			}
		})
	}
	if i, err := Inherit(); i != nil || err != nil {
		t.Errorf("without an inheritance: %v, %v", i, err)
	}
}
