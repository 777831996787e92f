//go:build linux

package expedite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/worker"
)

// talk opens a WebSocket at a path of an app.
func talk(t *testing.T, addr, path string) *visitor {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &visitor{t: t, conn: conn}
}

// ask sends a text and compares the answer.
func (v *visitor) ask(text, want string) {
	v.t.Helper()
	if err := v.conn.Write(v.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		v.t.Fatal(err)
	}
	v.want(want)
}

// wantClosed waits for a close frame.
func (v *visitor) wantClosed(code websocket.StatusCode) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	defer cancel()
	_, b, err := v.conn.Read(ctx)
	if got, ok := errors.AsType[websocket.CloseError](err); !ok || got.Code != code {
		v.t.Errorf("got %q, %v; want close code %d", b, err, code)
	}
}

// TestDataMovesWithState: with Handler.State, Data is there before Open, and is the same after each reload.
func TestDataMovesWithState(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	plain, inline := talk(t, addr, "/tally"), talk(t, addr, "/tally/inline")
	plain.ask("a", "[a] 0")
	inline.ask("a", "[a] 0")
	for range 2 {
		res, err := app.role.Load().control.Reload(t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{})
		if err != nil || res.Moved != 2 || res.Drained != 0 {
			t.Fatalf("reload: %+v, %v; want 2 moved", res, err)
		}
	}
	plain.ask("b", "[a b] 0")
	inline.ask("b", "[a moved moved b] 2")
}

// TestDataThatCannotMove: a connection that holds data which nothing carries is closed with 1012 at a reload, which
// tells how many and why; one that holds none moves. The first SetData of a handler is logged, and no other one.
func TestDataThatCannotMove(t *testing.T) {
	addr, app := runApp(t, Config{Workers: 1})
	var holders []*visitor
	for _, path := range []string{"/held", "/held", "/held/inline"} {
		holders = append(holders, talk(t, addr, path))
	}
	resumed, empty := talk(t, addr, "/resumed"), talk(t, addr, "/held")
	for _, v := range append(holders, resumed) {
		v.ask("x", "x")
		v.ask("y", "y")
	}
	var warned bytes.Buffer
	want := control.LogsRequest{Recent: true, Level: "warn"}
	if err := app.role.Load().control.Logs(t.Context(), want, func(b []byte) error { warned.Write(b); return nil }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(warned.String(), "cannot move"); got != 2 { // one for each handler
		t.Errorf("%d warnings, want 2:\n%s", got, &warned)
	}
	res, err := app.role.Load().control.Reload(t.Context(), control.ReloadRequest{KeepPrimary: true}, control.Discard{})
	if err != nil || res.Moved != 2 || res.Drained != 3 || len(res.DrainedWhy) != 1 || res.DrainedWhy["data"] != 3 {
		t.Errorf("reload: %+v, %v; want 2 moved, 3 drained because of their data", res, err)
	}
	for _, v := range holders {
		v.wantClosed(websocket.StatusServiceRestart)
	}
	empty.ask("z", "z")
	resumed.ask("z", "z")
}

// TestCarried: what one release has written another reads, or says why not.
func TestCarried(t *testing.T) {
	type old struct{ Name string }
	type now struct{ First, Last string }
	older := Carry[old]()
	newer := Carry[now]().Version(2, func(version uint64, b []byte, v *now) error {
		if version != 0 {
			return fmt.Errorf("version %d", version)
		}
		before, err := older.decode(append([]byte{0}, b...))
		if err == nil {
			v.First, v.Last, _ = strings.Cut(before.(*old).Name, " ")
		}
		return err
	})
	b, err := older.encode(&old{Name: "Ada Lovelace"})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := newer.decode(b); err != nil || *v.(*now) != (now{"Ada", "Lovelace"}) {
		t.Errorf("upgrade: got %+v, %v", v, err)
	}
	if b, err = newer.encode(&now{First: "Ada"}); err != nil {
		t.Fatal(err)
	}
	if v, err := newer.decode(b); err != nil || *v.(*now) != (now{First: "Ada"}) {
		t.Errorf("same release: got %+v, %v", v, err)
	}
	if _, err := older.decode(b); err == nil || !strings.Contains(err.Error(), "version is 2") {
		t.Errorf("taken back: got %v, want the versions", err)
	}
	if _, err := newer.encode("Ada"); err == nil {
		t.Error("data of another type: got no error")
	}
	reversed := CarryWith(
		func(v *string) ([]byte, error) { return []byte("<" + *v), nil },
		func(b []byte, v *string) error { *v = string(b[1:]); return nil },
	)
	text := "x"
	if b, err = reversed.encode(&text); err != nil || string(b) != "\x00<x" {
		t.Errorf("own form: got %q, %v", b, err)
	}
	if v, err := reversed.decode(b); err != nil || *v.(*string) != "x" {
		t.Errorf("own form: got %v, %v", v, err)
	}
}

// TestStateIsChecked: Run refuses a type that JSON would lose.
func TestStateIsChecked(t *testing.T) {
	type secretive struct{ _ string }
	for _, c := range []struct {
		rule  string
		state State
		want  string
	}{
		{"nothing is exported", Carry[secretive](), "no field of expedite.secretive is exported"},
		{"not for JSON", Carry[chan int](), "unsupported type"},
		{"made by hand", Carried[int]{}, "Carry or CarryWith"},
	} {
		app := New(Config{Addr: "127.0.0.1:0", Workers: -1})
		app.Handle("/", Handler{State: c.state})
		if err := app.Run(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.rule, err, c.want)
		}
	}
	if err := Carry[struct{}]().check(); err != nil {
		t.Errorf("an empty struct: %v", err)
	}
}

// TestStateOfOtherReleases: a connection that comes from a release without State has a fresh Data, and one that goes to
// a release without State takes no Data along.
func TestStateOfOtherReleases(t *testing.T) {
	with := &endpoint{handler: &Handler{State: Carry[tally]()}, worker: new(worker.Worker)}
	without := &endpoint{handler: new(Handler), worker: with.worker}
	state := []byte("\x00{}")
	client := &access.Client{Query: "a=1"}
	moved, plain := new(access.Admission).Save(client, &state), new(access.Admission).Save(client, nil)
	for _, c := range []struct {
		rule   string
		end    *endpoint
		record []byte
		fresh  bool
		state  bool
	}{
		{"both know it", with, moved, false, true},
		{"the old release did not", with, plain, true, false},
		{"the new release does not", without, moved, false, false},
	} {
		got, err := c.end.loaded(nil, c.record)
		if err != nil || got.client.Query != "a=1" {
			t.Errorf("%s: got %+v, %v", c.rule, got, err)
		}
		if (got.data != nil) != c.fresh || (got.state != nil) != c.state {
			t.Errorf("%s: data %v, state %v", c.rule, got.data, got.state)
		}
	}
}
