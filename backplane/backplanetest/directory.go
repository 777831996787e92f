package backplanetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// directories returns the Backplanes as Directories, or skips the test.
func (s *bench) directories() (a, b backplane.Directory) {
	s.Helper()
	a, ok := s.a.Backplane.(backplane.Directory)
	if !ok {
		s.Skip("it is no backplane.Directory")
	}
	return a, s.b.Backplane.(backplane.Directory)
}

// call calls f until it succeeds: the connection may not be there yet.
func (s *bench) call(what string, f func(ctx context.Context) error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			s.Fatalf("%s: %v", what, err)
		}
	}
}

// announce announces a machine, and checks how many are known.
func (s *bench) announce(d backplane.Directory, m backplane.Machine, lease time.Duration, want int) {
	s.Helper()
	var got int
	s.call("Announce", func(ctx context.Context) (err error) {
		got, err = d.Announce(ctx, m, lease)
		return err
	})
	if got != want {
		s.Errorf("Announce %q: got %d machines, want %d", short(m.Name), got, want)
	}
}

// machines returns what a Directory has.
func (s *bench) machines(d backplane.Directory) (list []string) {
	s.Helper()
	s.call("Machines", func(ctx context.Context) error {
		all, err := d.Machines(ctx)
		list = nil
		for _, m := range all {
			list = append(list, fmt.Sprintf("%s %q", short(m.Name), short(string(m.About))))
		}
		return err
	})
	return list
}

// listed checks what a Directory has.
func (s *bench) listed(d backplane.Directory, want ...string) {
	s.Helper()
	if got := s.machines(d); !slices.Equal(got, want) {
		s.Errorf("got machines %q, want %q", got, want)
	}
}

// testDirectory: all machines see each other as long as their leases last, or until they withdraw.
func testDirectory(s *bench) {
	a, b := s.directories()
	const long = time.Hour
	s.listed(a)
	s.announce(a, backplane.Machine{Name: "b", About: []byte("1")}, long, 1)
	s.announce(b, backplane.Machine{Name: "a", About: []byte{0, 255}}, long, 2)
	s.listed(a, `a "\x00\xff"`, `b "1"`)
	s.announce(a, backplane.Machine{Name: "b", About: []byte("2")}, long, 2)
	s.announce(b, backplane.Machine{Name: "c"}, long, 3)
	s.listed(b, `a "\x00\xff"`, `b "2"`, `c ""`)
	s.call("Withdraw", func(ctx context.Context) error { return a.Withdraw(ctx, "a") })
	s.call("Withdraw again", func(ctx context.Context) error { return a.Withdraw(ctx, "a") })
	s.listed(b, `b "2"`, `c ""`)
	s.announce(b, backplane.Machine{Name: "c"}, time.Millisecond, 2)
	for deadline := time.Now().Add(s.patience); len(s.machines(a)) > 1; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("leases do not end")
		}
	}
	s.listed(b, `b "2"`)
	s.announce(b, backplane.Machine{Name: "c", About: []byte("again")}, long, 2)
	s.listed(a, `b "2"`, `c "again"`)
}

// testDirectoryLimits: what is too large is refused, and so is everything after Close.
func testDirectoryLimits(s *bench) {
	a, b := s.directories()
	ctx, cancel := context.WithTimeout(context.Background(), s.patience)
	defer cancel()
	s.announce(a, backplane.Machine{Name: strings.Repeat("n", backplane.MaxName), About: make([]byte, backplane.MaxAbout)},
		time.Hour, 1)
	for what, m := range map[string]backplane.Machine{
		"no name":                {},
		"a longer name":          {Name: strings.Repeat("n", backplane.MaxName+1)},
		"a longer self-portrait": {Name: "n", About: make([]byte, backplane.MaxAbout+1)},
	} {
		_, err := a.Announce(ctx, m, time.Hour)
		s.want(what, err, backplane.ErrTooLarge)
	}
	if n := len(s.machines(b)); n != 1 {
		s.Errorf("got %d machines, want 1", n)
	}
	s.close(s.a)
	_, err := a.Machines(ctx)
	s.want("Machines after Close", err, backplane.ErrClosed)
	_, err = a.Announce(ctx, backplane.Machine{Name: "n"}, time.Hour)
	s.want("Announce after Close", err, backplane.ErrClosed)
	s.want("Withdraw after Close", a.Withdraw(ctx, "n"), backplane.ErrClosed)
	if n := len(s.machines(b)); n != 1 {
		s.Errorf("got %d machines, want 1", n)
	}
}
