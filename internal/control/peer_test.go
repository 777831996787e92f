package control

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/unixsocket"
)

func TestJudge(t *testing.T) {
	me := os.Geteuid()
	for _, tt := range []struct {
		name string
		peer unixsocket.Peer
		err  error
		want string // empty: may pass
	}{
		{"the same user", unixsocket.Peer{UID: me}, nil, ""},
		{"root", unixsocket.Peer{UID: 0}, nil, ""},
		{"another user", unixsocket.Peer{UID: me + 1}, nil, "may not control"},
		{"a system that does not tell", unixsocket.Peer{}, unixsocket.ErrNoPeer, ""},
		{"a system that fails to tell", unixsocket.Peer{UID: me}, errors.New("broken"), "broken"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := judge(tt.peer, tt.err)
			if tt.want == "" && err != nil {
				t.Errorf("got %v, want nil", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRefusedPeerGets403(t *testing.T) {
	h := checkPeer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request went through") }))
	r := httptest.NewRequest("GET", "/status", nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(context.WithValue(t.Context(), peerKey{}, errors.New("user 7 may not"))))
	if w.Code != 403 || !strings.Contains(w.Body.String(), `"message":"user 7 may not"`) {
		t.Errorf("got %d %s, want 403 and the reason", w.Code, w.Body)
	}
}
