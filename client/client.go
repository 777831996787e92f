// Package client serves expedite.js, a client for browsers that connects again by itself. Nobody has to use it: every
// WebSocket client works. docs/client.md documents its options.
package client

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

//go:embed expedite.js
var script []byte

// etagBytes is how much of the hash of the script is in its ETag.
const etagBytes = 8

// Handler returns a handler that serves expedite.js, compressed if the browser accepts gzip. Browsers ask each time
// whether it has changed, which a response without a body denies. Pages of all origins may import it.
func Handler() http.Handler {
	hash := sha256.Sum256(script)
	tag := hex.EncodeToString(hash[:etagBytes])
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // fails for unknown levels only
	_, _ = z.Write(script)                                     // a Buffer takes everything
	_ = z.Close()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "want GET", http.StatusMethodNotAllowed)
			return
		}
		h, body, etag := w.Header(), script, tag
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			body, etag = packed.Bytes(), tag+"-gzip"
		}
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Access-Control-Allow-Origin", "*") // scripts of modules are fetched with CORS
		h.Set("Cache-Control", "no-cache")
		h.Set("Vary", "Accept-Encoding")
		h.Set("ETag", `"`+etag+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
}

// acceptsGzip reports whether a response to r may be compressed. RFC 9110 §12.5.3. It does not parse weights: an entry
// with one counts as not accepted, which costs a few kilobytes.
func acceptsGzip(r *http.Request) bool {
	for _, list := range r.Header.Values("Accept-Encoding") {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "gzip") {
				return true
			}
		}
	}
	return false
}
