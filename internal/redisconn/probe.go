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

// Probe asks the Redis that [Open] would use how it is set up, once and for people.
type Probe struct {
	// Address is where it is, without secrets: hosts with ports, or a path.
	Address string

	option rueidis.ClientOption
}

// NewProbe makes sense of an URL; see [Open]. Its errors do not repeat it.
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
		return &probeConn{Conn: conn}, nil
	}
	return &Probe{Address: strings.Join(o.InitAddress, ","), option: o}, nil
}

// Memory connects and returns what INFO memory says; of a Cluster, what one of its servers does. It is empty if Redis
// answers and does not tell this user. Errors are in few words.
func (p *Probe) Memory(ctx context.Context) (map[string]string, error) {
	o := p.option
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline), time.Millisecond)
		o.Dialer.Timeout, o.ConnWriteTimeout, o.Sentinel.Dialer.Timeout = left, left, left
	}
	client, err := dialRedis(ctx, o)
	if err != nil {
		return nil, inFewWords(err)
	}
	defer client.Close()
	text, err := client.Do(ctx, client.B().Arbitrary("INFO", "memory").ReadOnly()).ToString()
	if e, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(e.Error(), "NOPERM") {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, inFewWords(err)
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

// dialRedis connects until ctx ends, of which the library knows nothing: Sentinels have their time one after the other.
func dialRedis(ctx context.Context, o rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		client rueidis.Client
		err    error
	}
	dialed := make(chan result)
	go func() { // ends with the attempt, which has its time
		client, err := rueidis.NewClient(o)
		select {
		case dialed <- result{client, err}:
		case <-ctx.Done():
			if err == nil {
				client.Close()
			}
		}
	}()
	select {
	case r := <-dialed:
		return r.client, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// inFewWords is what kept a probe from its answer.
func inFewWords(err error) error {
	if said, ok := rueidis.IsRedisErr(err); ok {
		switch text := said.Error(); {
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
