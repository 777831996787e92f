package acmeclient

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
)

// domain is what a Client knows of a domain. Only the goroutine that keeps it uses what is not under the lock.
type domain struct {
	name     string
	retry    time.Time // no attempt before
	refusals int       // by the authority, in a row
	faults   int       // other failures, in a row
	kind     int       // index of the challenge to try next
	told     string    // the last cause that was logged
	unusable string    // why the file cannot be used, if that was logged

	mu    sync.Mutex
	state Status
}

func (d *domain) set(change func(*Status)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(&d.state)
}

func (d *domain) status() Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.state
	s.Domain = d.name
	return s
}

func (d *domain) succeeded() {
	d.refusals, d.faults, d.told, d.retry = 0, 0, "", time.Time{}
	d.set(func(s *Status) { s.Failures, s.Cause = 0, "" })
}

// failed counts a failure, and returns how long to wait. kinds is the number of challenges that can be tried.
func (d *domain) failed(err error, kinds int) time.Duration {
	if refused(err) {
		d.refusals++
		d.kind = (d.kind + 1) % max(kinds, 1)
	} else {
		d.faults++
	}
	d.set(func(s *Status) { s.Failures++ })
	return pause(err, d.refusals, d.faults, kinds)
}

// The times between attempts double, from the first to the last one. What the authority has refused counts against its
// limits: Let's Encrypt allows five failed validations of a domain per hour.
const (
	firstFault, lastFault     = time.Second, 5 * time.Minute
	firstRefusal, lastRefusal = 2 * time.Minute, 6 * time.Hour
	// maxRetryAfter bounds what an authority asks for.
	maxRetryAfter = 24 * time.Hour
)

// pause returns how long to wait after err.
func pause(err error, refusals, faults, kinds int) time.Duration {
	if !refused(err) {
		return double(firstFault, faults-1, lastFault)
	}
	wait := firstFault // another challenge may succeed
	if refusals >= kinds {
		wait = double(firstRefusal, refusals-kinds, lastRefusal)
	}
	if after, limited := acme.RateLimit(err); limited {
		wait = max(double(firstRefusal, refusals-1, lastRefusal), min(after, maxRetryAfter))
	}
	return wait
}

// double returns first, doubled n times, but no more than last.
func double(first time.Duration, n int, last time.Duration) time.Duration {
	for ; n > 0 && first < last; n-- {
		first *= 2
	}
	return min(first, last)
}

// errStale is a refusal, so that the authority is not asked again at once.
var errStale = errors.New("the certificate that the authority has issued expires too soon: is the clock right?")

// refused reports whether an error is the answer of an authority. Others are faults: of the network, of a server, of
// the disk.
func refused(err error) bool {
	if e, ok := errors.AsType[*acme.Error](err); ok {
		return e.StatusCode < http.StatusInternalServerError
	}
	_, authorization := errors.AsType[*acme.AuthorizationError](err)
	_, order := errors.AsType[*acme.OrderError](err)
	return authorization || order || errors.Is(err, errStale) || errors.Is(err, errNoChallenge)
}

// reason returns the text of an error for people, the same one for the same cause: without the port of a connection.
func reason(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Err != nil && e.Addr != nil {
		return fmt.Sprintf("the authority cannot be reached: %s %s: %v", e.Op, e.Addr, e.Err)
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return err.Error() + ": if that is an authority of your own, SSL_CERT_FILE has to name the file with its root"
	}
	return err.Error()
}

const (
	// shortLived is the lifetime below which a certificate is renewed at half of it.
	shortLived = 10 * 24 * time.Hour
	// maxEarly bounds by how much a certificate is renewed early, so that many servers do not ask at the same time.
	maxEarly = time.Hour
)

// RenewAt returns when a certificate should be renewed: when a third of its lifetime is left, or half of it if it lives
// for less than ten days, and up to an hour earlier. It is the same time whenever it is computed.
func RenewAt(leaf *x509.Certificate) time.Time {
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	left := life / 3
	if life < shortLived {
		left = life / 2
	}
	sum := sha256.Sum256(leaf.Raw)
	share := float64(binary.BigEndian.Uint32(sum[:4])) / (1 << 32)
	early := time.Duration(share * float64(min(left/10, maxEarly)))
	return leaf.NotAfter.Add(-left - early)
}
