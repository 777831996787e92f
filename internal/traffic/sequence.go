package traffic

// maxJump limits how many numbers may be missing at once.
const maxJump = 1 << 16

// verdict classifies a received number.
type verdict uint8

const (
	inOrder verdict = iota
	jumped          // numbers before it are missing
	late            // it was missing before
	doubled         // it was received before
	wild            // it is invalid
)

// sequence checks that numbers arrive one by one in ascending order.
type sequence struct {
	next    uint64 // the first number is 1; 0 accepts any first number
	missing map[uint64]struct{}
}

// take classifies the received number n and returns how many numbers it shows to be missing.
func (s *sequence) take(n uint64) (v verdict, missing uint64) {
	if s.next == 0 {
		s.next = n
	}
	switch {
	case n == 0:
		return wild, 0
	case n == s.next:
		s.next++
		return inOrder, 0
	case n > s.next:
		if n-s.next > maxJump || len(s.missing) > maxJump {
			return wild, 0
		}
		if s.missing == nil {
			s.missing = make(map[uint64]struct{})
		}
		missing = n - s.next
		for ; s.next < n; s.next++ {
			s.missing[s.next] = struct{}{}
		}
		s.next++
		return jumped, missing
	}
	if _, ok := s.missing[n]; ok {
		delete(s.missing, n)
		return late, 0
	}
	return doubled, 0
}

// owed returns how many numbers up to sent have been neither received nor reported missing.
func (s *sequence) owed(sent uint64) uint64 {
	if s.next > sent {
		return 0
	}
	return sent + 1 - max(s.next, 1)
}

// complete reports whether all numbers up to sent have been received.
func (s *sequence) complete(sent uint64) bool { return s.owed(sent) == 0 && len(s.missing) == 0 }
