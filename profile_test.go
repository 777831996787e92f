//go:build linux

package expedite

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// adminGet asks the admin listener of an app.
func adminGet(t *testing.T, app *App, path string) (status int, body string) {
	t.Helper()
	resp, err := http.Get("http://" + app.role.Load().control.AdminAddr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
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
