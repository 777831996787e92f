package cluster

import "fmt"

// roleEnv tells a process that it is a worker, and which one. Its name and format are part of the contract between
// releases.
const roleEnv = "EXPEDITE_WORKER"

// linkFD is the descriptor at which a worker finds its end of the socketpair.
const linkFD = 3

// role identifies a worker to its process.
type role struct {
	slot, slots, generation int
	id                      uint64
	listener                bool // the slot has its own listening socket, which is the first thing on the socketpair
}

const roleFormat = "slot=%d slots=%d generation=%d id=%d listener=%t"

func (r role) String() string {
	return fmt.Sprintf(roleFormat, r.slot, r.slots, r.generation, r.id, r.listener)
}

func parseRole(s string) (r role, err error) {
	if _, err := fmt.Sscanf(s, roleFormat, &r.slot, &r.slots, &r.generation, &r.id, &r.listener); err != nil {
		return role{}, fmt.Errorf("cluster: %s=%q: %w", roleEnv, s, err)
	}
	if r.String() != s || r.slot < 1 || r.slots < 1 || r.generation < 1 {
		return role{}, fmt.Errorf("cluster: %s=%q is not a valid role", roleEnv, s)
	}
	return r, nil
}
