package secure

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
)

// Stats counts handshakes.
type Stats struct {
	tls12, tls13      atomic.Uint64
	failed, abandoned atomic.Uint64
	refused           atomic.Uint64
	plain             atomic.Uint64
	challenges        atomic.Uint64
	timing            timing
}

// Counts returns the counters, by names for metrics: handshakes that were completed, by version; those that "failed"
// with an error of TLS, those whose clients left or were too slow ("abandoned"), those of clients that came when too
// many waited ("refused"), clients that spoke HTTP ("not_tls"), and authorities that have verified a challenge
// ("challenge").
func (s *Stats) Counts() map[string]uint64 {
	counts := make(map[string]uint64)
	for name, n := range map[string]*atomic.Uint64{
		"1.2": &s.tls12, "1.3": &s.tls13, "failed": &s.failed, "abandoned": &s.abandoned, "not_tls": &s.plain,
		"refused": &s.refused, "challenge": &s.challenges,
	} {
		if v := n.Load(); v > 0 {
			counts[name] = v
		}
	}
	return counts
}

// count counts a handshake.
func (s *Stats) count(version uint16, err error) {
	switch {
	case errors.Is(err, errBusy):
		s.refused.Add(1)
	case err != nil && gone(err):
		s.abandoned.Add(1)
	case err != nil:
		s.failed.Add(1)
	case version == tls.VersionTLS13:
		s.tls13.Add(1)
	default:
		s.tls12.Add(1)
	}
}

// gone reports whether a connection has ended for another reason than TLS. Alerts are of the type *net.OpError, too.
func gone(err error) bool {
	op, broken := errors.AsType[*net.OpError](err)
	return broken && (op.Op == "read" || op.Op == "write") || errors.Is(err, io.EOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded)
}
