package expedite

import (
	"context"
	"errors"
	"os"
	"strconv"
	"testing"
)

func TestRunIsCalledOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	app := New(Config{Workers: -1, Addr: "127.0.0.1:0"})
	if err := app.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := app.Run(ctx); !errors.Is(err, ErrRan) {
		t.Errorf("the second Run: %v, want ErrRan", err)
	}
	t.Setenv("EXPEDITE_JOINED", strconv.Itoa(os.Getpid())) // as in a worker that has joined
	if err := New(Config{Workers: -1, Addr: "127.0.0.1:0"}).Run(ctx); !errors.Is(err, ErrRan) {
		t.Errorf("Run in a process that was a worker: %v, want ErrRan", err)
	}
}
