package control

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestLimitBody checks that a body without progress ends its connection, and that a handler may take longer than a
// body.
func TestLimitBody(t *testing.T) {
	const limit = 30 * time.Millisecond
	mux := http.NewServeMux()
	mux.HandleFunc("/read", func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, err == nil)
	})
	mux.HandleFunc("/ignore", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ignored") })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		<-time.After(3 * limit)
		fmt.Fprint(w, r.Context().Err())
	})
	s := httptest.NewServer(LimitBody(limit, mux))
	defer s.Close()
	for _, tt := range []struct {
		request, want string
		ends          bool
	}{
		{"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf", "false", true},
		{"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "false", true},
		{"GET /ignore HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", "ignored", true},
		{"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhalf", "true", false},
		{"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhalf", "<nil>", false},
		{"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n", "<nil>", false},
	} {
		t.Run(tt.request, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
			in := bufio.NewReader(conn)
			rounds := 1
			if !tt.ends {
				rounds = 2
			}
			for range rounds {
				if _, err := io.WriteString(conn, tt.request); err != nil {
					t.Fatal(err)
				}
				r, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(r.Body); err != nil || string(b) != tt.want {
					t.Errorf("got %q, %v, want %q", b, err, tt.want)
				}
			}
			if tt.ends {
				if _, err := in.ReadByte(); err != io.EOF {
					t.Errorf("got %v, want the end", err)
				}
			}
		})
	}
}
