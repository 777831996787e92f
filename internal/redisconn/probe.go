package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Probe asks a Redis how it is configured, with connections of its own. Its errors are short, for people.
type Probe struct {
	// Address is the address without secrets: hosts with ports, or a path.
	Address string

	option rueidis.ClientOption
}

// CheckURL returns an error if [Open] would not accept a URL. The error does not contain the URL.
func CheckURL(rawURL string) error {
	_, err := parseURL(rawURL)
	return err
}

// NewProbe returns a Probe of the Redis at a URL; see [Open]. Its errors do not contain the URL.
func NewProbe(rawURL string) (*Probe, error) {
	o, err := parseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("session: Redis: %w", err)
	}
	o.ClientName, o.ClientSetInfo, o.DisableCache, o.DisableRetry = "expedite", []string{}, true, true
	o.AlwaysPipelining, o.PipelineMultiplex = false, -1
	o.ReadBufferEachConn, o.WriteBufferEachConn = bufferSize, bufferSize
	dial := o.DialCtxFn
	if dial == nil {
		dial = dialTCP
	}
	o.DialCtxFn = func(ctx context.Context, to string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
		conn, err := dial(ctx, to, d, secure)
		if err != nil {
			return nil, err
		}
		return &checkedConn{Conn: conn}, nil
	}
	return &Probe{Address: strings.Join(o.InitAddress, ","), option: o}, nil
}

// Memory connects and returns the fields of INFO memory; of a Cluster, those of one of its servers. It returns no
// fields if the user is not permitted to read them.
func (p *Probe) Memory(ctx context.Context) (map[string]string, error) {
	o := p.option
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline), time.Millisecond)
		o.Dialer.Timeout, o.ConnWriteTimeout, o.Sentinel.Dialer.Timeout = left, left, left
	}
	client, err := newClient(ctx, o)
	if err != nil {
		return nil, briefly(err)
	}
	defer client.Close()
	text, err := client.Do(ctx, client.B().Arbitrary("INFO", "memory").ReadOnly()).ToString()
	if e, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(e.Error(), "NOPERM") {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, briefly(err)
	}
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[key] = value
		}
	}
	return info, nil
}

func dialTCP(ctx context.Context, to string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
	if secure != nil {
		return (&tls.Dialer{NetDialer: d, Config: secure}).DialContext(ctx, "tcp", to)
	}
	return d.DialContext(ctx, "tcp", to)
}

// newClient connects until ctx ends. The library has no such limit: it applies its timeout to each Sentinel in turn.
func newClient(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	connected := make(chan result)
	go func() { // ends with the attempt, which has a timeout
		client, err := rueidis.NewClient(o)
		select {
		case connected <- result{client, err}:
		case <-ctx.Done():
			if err == nil {
				client.Close()
			}
		}
	}()
	select {
	case r := <-connected:
		return r.client, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// briefly returns an error of a probe in a few words.
func briefly(err error) error {
	if reply, ok := rueidis.IsRedisErr(err); ok {
		switch text := reply.Error(); {
		case strings.HasPrefix(text, "WRONGPASS"):
			return errors.New("refuses the password")
		case strings.HasPrefix(text, "NOAUTH"):
			return errors.New("wants a password")
		}
		return withoutArgs(err)
	}
	if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, context.DeadlineExceeded) {
		return errors.New("does not answer in time")
	}
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*net.OpError](err); ok {
		return e.Err
	}
	return fmt.Errorf("what listens there is no Redis, or wants TLS (rediss://): %w", err)
}
