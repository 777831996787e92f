package control

import (
	"io"
	"net/http"
	"time"
)

// DefaultBodyTimeout is how long the body of a request may make no progress.
const DefaultBodyTimeout = 10 * time.Second

// LimitBody ends the connection of a request whose body makes no progress for limit, whether next reads it or not. What
// next does before and after it reads may take longer. 0 is DefaultBodyTimeout, negative is for ever.
func LimitBody(limit time.Duration, next http.Handler) http.Handler {
	if limit == 0 {
		limit = DefaultBodyTimeout
	}
	if limit < 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			next.ServeHTTP(w, r)
			return
		}
		b := &limitedBody{ReadCloser: r.Body, conn: http.NewResponseController(w), limit: limit}
		r.Body = b
		b.await()
		next.ServeHTTP(w, r)
		if !b.ended {
			b.await() // net/http reads what next did not
		}
	})
}

// limitedBody is a body each part of which must come in time.
type limitedBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	limit time.Duration
	ended bool
}

// Read is part of io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	if !b.ended {
		b.await()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended = true // net/http, which now watches whether the client leaves, takes the deadline away
	}
	return n, err
}

// await sets the deadline of the next part. Where there is none to set, as in tests, there is nothing to wait for.
func (b *limitedBody) await() { _ = b.conn.SetReadDeadline(time.Now().Add(b.limit)) }
