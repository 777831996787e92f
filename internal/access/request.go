package access

import (
	"context"
	"net/http"
	"net/url"

	"github.com/expedite-go/expedite/internal/engine"
)

// unixPeer is http.Request.RemoteAddr for a client of a Unix socket, as net/http has it.
const unixPeer = "@"

// httpRequest returns a handshake in the form that handlers know. The scheme of its URL is that with which the client
// reached this server or the first proxy, if that is known. Its context ends when the handshake takes too long.
func httpRequest(ctx context.Context, u *engine.Upgrade) *http.Request {
	from := u.Request
	header := make(http.Header, len(from.Header))
	for _, f := range from.Header {
		header.Add(f.Name, f.Value)
	}
	header.Del("Host") // net/http has it in a field of its own
	target, err := url.ParseRequestURI(from.Target)
	if err != nil {
		target = &url.URL{Path: from.Path, RawQuery: from.RawQuery}
	}
	target.Scheme = u.Scheme // not what a client claims in a target in absolute form
	r := &http.Request{
		Method: from.Method, URL: target, RequestURI: from.Target, Header: header, Host: from.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody, RemoteAddr: unixPeer,
		TLS: u.TLS,
	}
	if remote := u.Conn.Remote(); remote.IsValid() {
		r.RemoteAddr = remote.String()
	}
	return r.WithContext(ctx)
}
