package auth

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	maxRedirects   = 3
	defaultTimeout = 5 * time.Second // of one request
)

// remote is the server of a provider. Requests to it are limited in time and size, and redirects to other servers are
// refused.
type remote struct {
	url    string
	host   string // for errors: the URL may contain what must not be logged
	client http.Client
	own    *http.Transport // nil if the caller passed a client
}

// newRemote checks the address. Plain HTTP is allowed for loopback addresses, or if plain is set.
func newRemote(address string, client *http.Client, plain bool) (*remote, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("the address is not a URL with a host")
	case u.User != nil:
		return nil, errors.New("the address contains a user, which would appear in logs")
	case u.Scheme != "https" && !(u.Scheme == "http" && (plain || isLoopback(u.Hostname()))):
		return nil, fmt.Errorf("%s: want https", u.Host)
	}
	r := &remote{url: address, host: u.Host}
	if client != nil {
		r.client = *client
	} else {
		r.own = &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: defaultTimeout, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: maxConcurrent, IdleConnTimeout: time.Minute,
		}
		r.client.Transport = r.own
	}
	r.client.CheckRedirect = func(to *http.Request, via []*http.Request) error {
		from := via[0].URL
		if to.URL.Host != from.Host || to.URL.Scheme != from.Scheme {
			return errors.New("a redirect to another server")
		}
		if len(via) > maxRedirects {
			return errors.New("too many redirects")
		}
		return nil
	}
	return r, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// do sends a request and reads the response of at most limit bytes.
func (r *remote) do(req *http.Request, limit int64) ([]byte, error) {
	req.Header.Set("Accept", "application/json")
	resp, err := r.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return nil, fmt.Errorf("%s does not answer: %w", r.host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d", r.host, resp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the response of %s is incomplete: %w", r.host, err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s sends more than %d bytes", r.host, limit)
	}
	return b, nil
}

// close closes idle connections.
func (r *remote) close() {
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}
