package relay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/expedite-go/expedite/internal/broker"
)

// chaos is machines with one topic, whose history keeps everything, and faults at random times.
type chaos struct {
	*testing.T
	random   *rand.Rand
	medium   *medium
	machines []*machine
	said     int
}

// fault begins or ends a fault of a machine, or replaces its program.
func (c *chaos) fault(i int) {
	k := c.machines[i]
	p := k.plane
	switch c.random.IntN(9) {
	case 0:
		p.setCut(true)
	case 1, 2:
		if p.cut {
			p.setCut(false)
		}
	case 3:
		p.mu.Lock()
		p.deaf = c.random.IntN(3)
		p.mu.Unlock()
	case 4:
		p.set(&p.stuck, true)
	case 5, 6:
		p.release()
	case 7:
		p.set(&p.vague, !p.vague)
	case 8:
		if !p.cut {
			c.machines[i] = c.replace(k)
		}
	}
}

// replace replaces the program of a machine. What is in the queue of its backplane is lost.
func (c *chaos) replace(k *machine) *machine {
	k.Suspend(0)
	c.say(k)
	synctest.Wait()
	next := newMachineWith(c.T, c.medium, Config{Node: k.Node, Succeeds: true}, k.AppendState(nil))
	k.plane.mu.Lock()
	k.plane.cut, k.plane.waits = true, nil
	k.plane.mu.Unlock()
	k.port.Detach()
	synctest.Wait()
	k.mu.Lock()
	next.got = append(k.got, next.got...)
	k.mu.Unlock()
	next.interest.Set("kall", true)
	c.say(next)
	synctest.Wait()
	next.CatchUp()
	synctest.Wait()
	return next
}

// say publishes the next message on a machine.
func (c *chaos) say(k *machine) {
	c.said++
	if err := k.local.Publish("kall", 1, fmt.Append(nil, c.said)); err != nil {
		c.Fatal(err)
	}
}

// check checks what a machine has got: everything once, and what has a place in the order of places.
func (c *chaos) check(k *machine) {
	k.mu.Lock()
	defer k.mu.Unlock()
	seen, last := make(map[int]bool), uint64(0)
	for _, one := range k.got {
		var n int
		var epoch, offset uint64
		switch _, err := fmt.Sscanf(one, "kall %d @%d:%d", &n, &epoch, &offset); {
		case strings.Contains(one, "gap"):
			c.Errorf("machine %d: %s", k.Node, one)
			continue
		case err != nil:
			if _, err := fmt.Sscanf(one, "kall %d", &n); err != nil {
				c.Errorf("machine %d: %s", k.Node, one)
			}
		case offset <= last:
			c.Errorf("machine %d: %s comes after offset %d", k.Node, one, last)
		default:
			last = offset
		}
		if seen[n] {
			c.Errorf("machine %d: %s comes twice", k.Node, one)
		}
		seen[n] = true
	}
	for n := range c.said {
		if !seen[n+1] {
			c.Errorf("machine %d: %d is missing", k.Node, n+1)
		}
	}
	if c.Failed() {
		c.Logf("machine %d: %q", k.Node, k.got)
	}
	if s := k.past.series["kall"]; k.past.ownCount != 0 || k.past.ownBytes != 0 || k.past.reads != 0 || len(s.ahead) > 0 {
		c.Errorf("machine %d: %d publications wait, %d are ahead", k.Node, k.past.ownCount, len(s.ahead))
	}
}

// run lets machines talk with faults, and ends the faults.
func (c *chaos) run() {
	for i := range uint64(3) {
		c.machines = append(c.machines, newMachine(c.T, c.medium, i+1))
		c.machines[i].subscribe("kall")
	}
	for range 80 {
		i := c.random.IntN(3)
		if c.random.IntN(4) == 0 {
			c.fault(i)
		} else {
			c.say(c.machines[i])
		}
		if c.random.IntN(3) == 0 {
			pass(time.Duration(c.random.IntN(700)) * time.Millisecond)
		}
	}
	for _, k := range c.machines {
		if k.plane.cut {
			k.plane.setCut(false)
		}
		k.plane.release()
		k.plane.mu.Lock()
		k.plane.deaf = 0
		k.plane.mu.Unlock()
	}
	pass(30 * time.Second)
	c.say(c.machines[0]) // shows that what came before it was not heard
	pass(time.Second)
}

// TestChaos: whatever happens to a history that loses nothing, every machine delivers every publication once, and those
// with places in one order.
func TestChaos(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			c := &chaos{T: t, random: rand.New(rand.NewPCG(seed, 1)), medium: new(medium)}
			c.run()
			for _, k := range c.machines {
				k.recall(broker.Query{Topic: "kall"})
				synctest.Wait()
				if end := len(k.got) - 1; end < 0 || k.got[end] != fmt.Sprintf("kall page 1:%d", c.said) {
					t.Errorf("machine %d: got %q at the end, want offset %d", k.Node, slices.Clone(k.got[max(end-1, 0):]), c.said)
				} else {
					k.got = k.got[:end]
				}
				c.check(k)
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
		if t.Failed() {
			return
		}
	}
}
