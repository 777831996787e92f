//go:build linux

package expedite

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/rpc"
)

// adminGet asks the admin listener of an app.
func adminGet(t *testing.T, app *App, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	app.desk.Load().web.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil))
	return w.Code, w.Body.String()
}

// TestProfilesOfWorkers: the admin listener has the profiles of the primary and of each worker.
func TestProfilesOfWorkers(t *testing.T) {
	_, app := runApp(t, Config{Workers: 2, Admin: "127.0.0.1:0"})
	const zipped = "\x1f\x8b"
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"goroutine?debug=2", 200, "runPrimary"},
		{"goroutine?debug=2&worker=1", 200, "runWorker"},
		{"goroutine?debug=2&worker=2", 200, "runWorker"},
		{"?worker=2", 200, "heap?worker=2&debug=1"},
		{"heap?worker=2", 200, zipped},
		{"profile?worker=2&seconds=1", 200, zipped},
		{"trace?worker=2&seconds=0.1", 200, "go 1."},
		{"nothing?worker=2", 404, "Unknown profile"},
		{"profile?worker=2&seconds=61", 400, "up to 60"},
		{"profile?seconds=1e9", 400, "up to 60"},
		{"heap?worker=3", 404, "no worker 3"},
		{"heap?worker=x", 404, "want the number"},
	} {
		status, body := adminGet(t, app, "/debug/pprof/"+c.path)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s: got %d, %.200q; want %d, %q", c.path, status, body, c.status, c.want)
		}
	}
}

// TestProfileComesInParts: a profile that is longer than a message arrives whole, also if the way to the worker or back
// is full once, and the worker keeps it no longer than that.
func TestProfileComesInParts(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), profilePart/8)
	var kept profiles
	var primary, worker *rpc.Peer
	refused := false
	worker = rpc.NewPeer(func(m []byte) error { primary.Receive(m); return nil },
		func(op byte, payload []byte, reply func([]byte, error)) {
			switch op {
			case opProfile:
				var req profileRequest
				_ = json.Unmarshal(payload, &req)
				p := &profile{cancel: func() {}, header: http.Header{}}
				_, _ = p.Write(want)
				kept.list = map[uint64]*profile{req.ID: p}
				reply(json.Marshal(profileHead{Status: p.status, Size: p.body.Len()}))
			case opProfilePart:
				reply(kept.part(payload))
			case opProfileEnd:
				kept.list = nil
			}
		})
	primary = rpc.NewPeer(func(m []byte) error {
		if m[5] == opProfilePart && !refused {
			refused = true
			return errors.New("full")
		}
		worker.Receive(m)
		return nil
	}, nil)
	var head profileHead
	var body []byte
	r := httptest.NewRequest(http.MethodGet, "/debug/pprof/heap?worker=1", nil)
	err := fetchProfile(r, primary, func(h profileHead) { head = h },
		func(part []byte) error { body = append(body, part...); return nil })
	if err != nil || head.Status != http.StatusOK || !bytes.Equal(body, want) {
		t.Errorf("got status %d, %d bytes, %v; want %d bytes", head.Status, len(body), err, len(want))
	}
	if !refused || kept.list != nil {
		t.Errorf("refused once: %v; still kept: %d", refused, len(kept.list))
	}
}
