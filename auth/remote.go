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

// remote is a server of somebody else: asked with bounds on time and size, and not led elsewhere.
type remote struct {
	url    string
	host   string // for errors: a URL may hold more than a log should
	client http.Client
	own    *http.Transport // nil if the client is the caller's
}

// newRemote looks at the address. Plain HTTP is for loopback only, or when it is asked for.
func newRemote(address string, client *http.Client, plain bool) (*remote, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("an address that is no URL with a host")
	case u.User != nil:
		return nil, errors.New("an address with a user: it would be written into logs")
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

// do makes a request and reads the answer, of at most limit bytes.
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
		return nil, fmt.Errorf("%s does not finish its answer: %w", r.host, err)
	case int64(len(b)) > limit:
		return nil, fmt.Errorf("%s answers more than %d bytes", r.host, limit)
	}
	return b, nil
}

// close lets idle connections go.
func (r *remote) close() {
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}
