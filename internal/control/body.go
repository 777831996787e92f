package control

import (
	"io"
	"net/http"
	"time"
)

// DefaultBodyTimeout is how long the body of a request may make no progress, unless configured otherwise.
const DefaultBodyTimeout = 10 * time.Second

// LimitBody returns a handler that closes the connection of a request if its body makes no progress for limit, whether
// next reads the body or not. What next does before and after reading may take longer. A limit of 0 means
// [DefaultBodyTimeout], a negative one no limit.
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
			b.await() // net/http reads what next has not read
		}
	})
}

// limitedBody is a body with a deadline for each read.
type limitedBody struct {
	io.ReadCloser
	conn  *http.ResponseController
	limit time.Duration
	ended bool
}

// Read sets the deadline and reads.
func (b *limitedBody) Read(p []byte) (int, error) {
	if !b.ended {
		b.await()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.ended = true // net/http removes the deadline, and waits for the client to disconnect
	}
	return n, err
}

// await sets the deadline of the next read. It ignores writers without deadlines, as in tests.
func (b *limitedBody) await() { _ = b.conn.SetReadDeadline(time.Now().Add(b.limit)) }
