//go:build unix

package main

import (
	"testing"
	"time"

	"github.com/expedite-go/expedite/session/sessiontest"
)

// TestFiles: the store fulfills the contract.
func TestFiles(t *testing.T) {
	sessiontest.Run(t, func(t *testing.T) sessiontest.Subject {
		store, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return sessiontest.Subject{Store: store}
	})
}

// TestSharedDirectory: what one process stores, another one takes, once.
func TestSharedDirectory(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	var key [32]byte
	if err := first.PutTicket(t.Context(), key, []byte("one"), time.Minute); err != nil {
		t.Fatal(err)
	}
	if v, err := second.TakeTicket(t.Context(), key); err != nil || string(v) != "one" {
		t.Errorf("got %q, %v", v, err)
	}
	if _, err := first.TakeTicket(t.Context(), key); err == nil {
		t.Error("a ticket is taken twice")
	}
}
