package primary

import (
	"errors"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/cluster"
	"github.com/expedite-go/expedite/internal/registry"
)

// fakeFiles are certificates that tell what they were asked.
type fakeFiles struct {
	restored, asked string
	bad             error
}

func (f *fakeFiles) Restore(kept []byte) error { f.restored = string(kept); return nil }

func (f *fakeFiles) Succeed(kept []byte) error { f.asked = string(kept); return f.bad }

func (f *fakeFiles) Unusable() error { return f.bad }

// TestTakeCertificates: a trial compares the files with what is in use, and changes nothing; the program that follows
// takes over what is in use. Either fails if that comes to nothing.
func TestTakeCertificates(t *testing.T) {
	for _, trial := range []bool{true, false} {
		for _, bad := range []error{nil, errors.New("expired")} {
			files := &fakeFiles{bad: bad}
			p := &Primary{cfg: Config{Files: files}}
			err := p.takeCertificates(&inheritance{
				State:   registry.State{Certificates: []byte("kept")},
				cluster: &cluster.Inheritance{Trial: trial},
			})
			if (err != nil) != (bad != nil) || err != nil && !strings.HasPrefix(err.Error(), "expedite: Config.TLS.Cert: ") {
				t.Errorf("trial %v, %v: got %v", trial, bad, err)
			}
			if got := files.asked + "," + files.restored; got != "kept," && trial || got != ",kept" && !trial {
				t.Errorf("trial %v: got %s", trial, got)
			}
		}
	}
}
