package registry

import (
	"bytes"
	"errors"
	"testing"

	"github.com/expedite-go/expedite/internal/denylist"
)

// needy are certificates that need those of the primary, or do not.
type needy struct {
	why      error
	restored []string
}

func (n *needy) Needs() error { return n.why }

func (n *needy) Restore(kept []byte) error { n.restored = append(n.restored, string(kept)); return nil }

// TestCertificates: a worker gets certificates and keys only if it needs them, and the next program gets them always.
func TestCertificates(t *testing.T) {
	s, err := NewServer(t.Context(), Config{
		Journal: newJournal(t), Moving: func() bool { return false },
		Certificates: func() []byte { return []byte("kept") },
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(s.keptCertificates()); got != "kept" {
		t.Errorf("the next program gets %q", got)
	}
	for _, why := range []error{nil, errors.New("no file")} {
		n, sent := &needy{why: why}, 0
		var w *Worker
		c := NewClient(ClientConfig{
			Send: func(m []byte) error { w.Receive(m); return nil }, Journal: newJournal(t), Deny: new(denylist.List),
			Connections: new(connections), Wait: true, Drain: func(Drain) {}, Certificates: n,
		})
		w = s.Join(1, func(m []byte) error {
			if bytes.Contains(m, []byte(`"certificates":`)) {
				sent++
			}
			c.Receive(m)
			return nil
		})
		c.Meet()
		c.Close()
		want := 0
		if why != nil {
			want = 1
		}
		if sent != want || len(n.restored) != want || want == 1 && n.restored[0] != "kept" {
			t.Errorf("needs %v: sent %d times, got %q", why, sent, n.restored)
		}
	}
}
