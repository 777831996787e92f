package control

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// restorable returns a server whose socket has lost its file.
func restorable(t *testing.T) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	return s, path
}

func statusOf(t *testing.T, path string) error {
	t.Helper()
	c, err := Dial(t.Context(), path)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Status(context.Background())
	return err
}

func TestRestoreMakesTheFileAnew(t *testing.T) {
	s, path := restorable(t)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(&fake{}) }() // ends with Close
	for range 3 {
		if err := s.Restore(); err != nil {
			t.Fatal(err)
		}
		if err := statusOf(t, path); err != nil {
			t.Fatal(err)
		}
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is still there")
	}
}

func TestRestoreLeavesTheFileOfAnother(t *testing.T) {
	s, path := restorable(t)
	other, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := s.Restore(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("Restore: %v, want that it is in use", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Error("the other server's file is gone")
	}
}

func TestInheritWithoutTheFile(t *testing.T) {
	before, path := restorable(t)
	defer before.Close()
	f, err := before.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := Inherit(path, f)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(&fake{}) }() // ends with Close
	if err := statusOf(t, path); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-ended
}
