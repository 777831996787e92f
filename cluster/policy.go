package cluster

import "fmt"

// Policy determines which worker gets a connection.
type Policy uint8

// The policies.
const (
	// RoundRobin gives connections to the workers in turn.
	RoundRobin Policy = iota
	// LeastConnections gives a connection to the worker with the fewest connections.
	LeastConnections
	// None leaves it to the kernel: each worker accepts from its own listening socket.
	None
)

// ParsePolicy returns the policy with a name: round-robin, least-connections or none.
func ParsePolicy(s string) (Policy, error) {
	for p := RoundRobin; p <= None; p++ {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("cluster: unknown scheduling %q: want round-robin, least-connections or none", s)
}

// String returns the name of the policy.
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

// MarshalText returns the name of the policy.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText sets the policy by its name.
func (p *Policy) UnmarshalText(b []byte) error {
	v, err := ParsePolicy(string(b))
	if err == nil {
		*p = v
	}
	return err
}
