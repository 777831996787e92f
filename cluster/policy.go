package cluster

import "fmt"

// Policy is how connections find their worker.
type Policy uint8

// The policies.
const (
	// RoundRobin gives each worker its turn.
	RoundRobin Policy = iota
	// LeastConnections gives a connection to the worker that has the fewest.
	LeastConnections
	// None leaves it to the kernel: workers accept from listening sockets of their own.
	None
)

// ParsePolicy reads the name of a policy.
func ParsePolicy(s string) (Policy, error) {
	for p := RoundRobin; p <= None; p++ {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("cluster: unknown scheduling %q: want round-robin, least-connections or none", s)
}

// String is the policy's name.
func (p Policy) String() string {
	switch p {
	case RoundRobin:
		return "round-robin"
	case LeastConnections:
		return "least-connections"
	case None:
		return "none"
	default:
		return fmt.Sprintf("policy %d", uint8(p))
	}
}

// MarshalText is the policy's name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the policy's name.
func (p *Policy) UnmarshalText(b []byte) error {
	v, err := ParsePolicy(string(b))
	if err == nil {
		*p = v
	}
	return err
}
