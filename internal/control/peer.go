package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// peer is the process at the other end of a socket. The zero value is root with no pid; peerOf says if it is known.
type peer struct {
	pid int
	uid int
}

// peerKey is where a request's context keeps the verdict about its peer: an error or nothing.
type peerKey struct{}

// withPeer judges a connection when it is accepted.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if err := judge(peerOf(conn)); err != nil {
		return context.WithValue(ctx, peerKey{}, err)
	}
	return ctx
}

// judge refuses users other than our own and root. The socket's mode does, too: this is for a directory or a file
// whose mode somebody changed. Where the peer cannot be known the mode stands alone.
func judge(p peer, err error) error {
	switch {
	case errors.Is(err, errNoPeers):
		return nil
	case err != nil:
		return fmt.Errorf("control: cannot tell who asks: %w", err)
	case p.uid != 0 && p.uid != os.Geteuid():
		return fmt.Errorf("control: user %d may not control this server: user %d may, and root", p.uid, os.Geteuid())
	}
	return nil
}

// checkPeer answers 403 to those that were judged so.
func checkPeer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err, ok := r.Context().Value(peerKey{}).(error); ok {
			fail(w, http.StatusForbidden, "forbidden", err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// errNoPeers says that this system does not tell who is at the other end.
var errNoPeers = errors.New("control: peers are not known on this system")
