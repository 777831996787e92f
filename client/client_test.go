package client

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/ws"
)

// most is how many bytes the compressed script may have.
const most = 4096

// get requests the script.
func get(t *testing.T, method string, header ...string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/expedite.js", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result(), w.Body.Bytes()
}

// TestHandler checks that browsers get the script, compressed and only once.
func TestHandler(t *testing.T) {
	plain, body := get(t, http.MethodGet, "Accept-Encoding", "br", "Accept-Encoding", "gzip;q=0")
	if plain.StatusCode != http.StatusOK || !bytes.Equal(body, script) || plain.Header.Get("Content-Encoding") != "" {
		t.Errorf("without gzip: got %s, %d bytes, header %v", plain.Status, len(body), plain.Header)
	}
	packed, body := get(t, http.MethodGet, "Accept-Encoding", "br, gzip, deflate")
	if len(body) >= most {
		t.Errorf("the compressed script has %d bytes, want fewer than %d", len(body), most)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, script) || packed.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("with gzip: got %d bytes, %v, header %v", len(text), err, packed.Header)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "no-cache", "Vary": "Accept-Encoding",
		"Access-Control-Allow-Origin": "*", "X-Content-Type-Options": "nosniff",
	} {
		if got := packed.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if plain.Header.Get("ETag") == packed.Header.Get("ETag") {
		t.Error("both forms have the same ETag")
	}
	for _, resp := range []*http.Response{plain, packed} {
		again, body := get(t, http.MethodGet, "If-None-Match", resp.Header.Get("ETag"),
			"Accept-Encoding", resp.Header.Get("Content-Encoding"))
		if again.StatusCode != http.StatusNotModified || len(body) != 0 {
			t.Errorf("known: got %s with %d bytes, want 304", again.Status, len(body))
		}
	}
	if head, body := get(t, http.MethodHead); head.StatusCode != http.StatusOK || len(body) != 0 {
		t.Errorf("HEAD: got %s with %d bytes", head.Status, len(body))
	}
	if post, _ := get(t, http.MethodPost); post.StatusCode != http.StatusMethodNotAllowed || post.Header.Get("Allow") == "" {
		t.Errorf("POST: got %s, want 405 with Allow", post.Status)
	}
}

// TestCloseCodes checks what the client does for the close codes of the server, by their constants.
func TestCloseCodes(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), findTool(t, "node"), "--input-type=module", "-e",
		`import { closeCodes } from "./expedite.js"; console.log(JSON.stringify(closeCodes))`).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got map[ws.CloseCode]string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	want := map[ws.CloseCode]string{
		ws.CloseNormal: "never", ws.CloseGoingAway: "soon", ws.CloseProtocolError: "never", ws.CloseUnsupportedData: "never",
		ws.CloseNoStatus: "soon", ws.CloseAbnormal: "soon", ws.CloseInvalidPayload: "never", ws.ClosePolicyViolation: "later",
		ws.CloseMessageTooBig: "never", ws.CloseInternalError: "later", ws.CloseServiceRestart: "soon",
		ws.CloseTryAgainLater: "later", expedite.CloseUnauthorized: "token", expedite.CloseKicked: "never",
		expedite.CloseReplaced: "never", expedite.CloseTooMany: "never",
	}
	for code, then := range want {
		if got[code] != then {
			t.Errorf("%d: got %q, want %q", code, got[code], then)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d codes, want %d", len(got), len(want))
	}
}

// TestScript runs the tests that are written in JavaScript.
func TestScript(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), findTool(t, "node"), "--test").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestPackage checks what is in the npm package, and that applications in TypeScript can use it.
func TestPackage(t *testing.T) {
	npm := findTool(t, "npm")
	out, err := exec.CommandContext(t.Context(), npm, "pack", "--dry-run", "--json").Output()
	if err != nil {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var packs []struct{ Files []struct{ Path string } }
	if err := json.Unmarshal(out, &packs); err != nil || len(packs) != 1 {
		t.Fatalf("npm pack: %v\n%s", err, out)
	}
	var names []string
	for _, f := range packs[0].Files {
		names = append(names, f.Path)
	}
	if got := strings.Join(names, " "); got != "LICENSE README.md expedite.d.ts expedite.js package.json" {
		t.Errorf("the package has %s", got)
	}

	dir := t.TempDir()
	folder, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("testdata/types.ts")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "types.ts"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), npm, "install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts",
		"--prefer-offline", "--install-links", "--prefix", dir, "typescript@5.9.3", folder)
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	check := exec.CommandContext(t.Context(), filepath.Join(dir, "node_modules/.bin/tsc"), "--noEmit", "--strict",
		"--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", "types.ts")
	check.Dir = dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}
}

func findTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: `make test` installs what is missing, if it may", err)
	}
	return path
}
