package secure

import (
	"crypto/sha256"
	"crypto/x509"
	"time"
)

// alarms remembers which certificates in use were told to be about to expire, by the hashes of the certificates.
type alarms map[[sha256.Size]byte]int

// expired is the last step of steps.
const expired = 4

// step returns how near the end of a certificate is: 0 to expired. The steps are 14 days, 7 days, and 1 day before, but
// each at most a third of its life.
func step(leaf *x509.Certificate, now time.Time) int {
	left, most := leaf.NotAfter.Sub(now), leaf.NotAfter.Sub(leaf.NotBefore)/3
	if left < 0 {
		return expired
	}
	n := 0
	for _, days := range []time.Duration{14, 7, 1} {
		if left <= min(days*24*time.Hour, most) {
			n++
		}
	}
	return n
}

// alarm logs which certificates of Pairs in use have come nearer to their end: what renews automatic ones logs by
// itself. Those that are no longer in use are forgotten. At the start, Watch tells which have expired.
func (s *Server) alarm(start bool) {
	if !s.cfg.Alarm {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	told := make(alarms)
	for _, one := range s.certs.list {
		leaf := one.Leaf
		sum := sha256.Sum256(leaf.Raw)
		before, n := s.alarms[sum], step(leaf, now)
		told[sum] = max(before, n)
		if n <= before || start && n == expired {
			continue
		}
		log := s.cfg.Log.With("names", names(leaf), "expires", leaf.NotAfter.UTC().Format(time.RFC3339))
		if n == expired {
			log.Error("a certificate has expired: clients refuse it")
		} else {
			log.Warn("a certificate is about to expire: renew it")
		}
	}
	s.alarms = told
}
