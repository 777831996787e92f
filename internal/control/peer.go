package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/expedite-go/expedite/internal/unixsocket"
)

// peerKey is the key under which the context of a request holds the reason to refuse its peer.
type peerKey struct{}

// withPeer checks the peer of a connection when it is accepted.
func withPeer(ctx context.Context, conn net.Conn) context.Context {
	if err := judge(unixsocket.PeerOf(conn)); err != nil {
		return context.WithValue(ctx, peerKey{}, err)
	}
	return ctx
}

// judge refuses users other than our own and root. The mode of the socket does that, too, unless it was changed. Where
// peers are not known, only the mode does it.
func judge(p unixsocket.Peer, err error) error {
	switch {
	case errors.Is(err, unixsocket.ErrNoPeer):
		return nil
	case err != nil:
		return fmt.Errorf("control: the user of the client is unknown: %w", err)
	case p.UID != 0 && p.UID != os.Geteuid():
		return fmt.Errorf("control: user %d may not control this server: only user %d and root may", p.UID, os.Geteuid())
	}
	return nil
}

// checkPeer answers 403 to the peers that withPeer refused.
func checkPeer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err, ok := r.Context().Value(peerKey{}).(error); ok {
			fail(w, http.StatusForbidden, "forbidden", err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}
