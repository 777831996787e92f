package secure

import (
	"crypto/tls"
	"testing"
	"time"
)

// TestCompleted: each handshake is in one interval, whose bound belongs to it, and in the sum.
func TestCompleted(t *testing.T) {
	var s Stats
	if c := s.Completed(); c.Suites != nil || c.Took != nil {
		t.Errorf("none: got %+v", c)
	}
	var sum uint64
	for took, bound := range map[time.Duration]string{
		0: "0.001", time.Millisecond: "0.001", time.Millisecond + 1: "0.0025", 90 * time.Millisecond: "0.1",
		5 * time.Second: "5", 5*time.Second + 1: "+Inf", time.Minute: "+Inf",
	} {
		before := s.Completed().Took[bound]
		s.timing.add(tls.TLS_AES_128_GCM_SHA256, took)
		if got := s.Completed().Took[bound]; got != before+1 {
			t.Errorf("%s: got %v", took, s.Completed().Took)
		}
		sum += uint64(took.Microseconds())
	}
	s.timing.add(0xfafa, 0)
	c := s.Completed()
	if c.Microseconds != sum || len(c.Took) != intervals || c.Suites["TLS_AES_128_GCM_SHA256"] != 7 || c.Suites["0xFAFA"] != 1 {
		t.Errorf("got %+v", c)
	}
}
