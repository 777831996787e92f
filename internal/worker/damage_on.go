//go:build damage

package worker

import (
	"encoding/binary"
	"os"
	"strconv"

	"github.com/expedite-go/expedite/internal/handoff"
	"github.com/expedite-go/expedite/internal/record"
)

// damageVariable names what is done wrong: fence, forward, hold, position, sequence or secret (of what is sealed with
// TLS), or the number of a record that is left out of all states.
const damageVariable = "EXPEDITE_DAMAGE"

func damaged(what string) bool { return os.Getenv(damageVariable) == what }

// damage takes a piece of the state away from connections that leave.
func damage(c *handoff.BatchData) {
	if damaged("position") {
		c.Position += 2
	}
	tag, err := strconv.ParseUint(os.Getenv(damageVariable), 0, 8)
	if damaged("sequence") || damaged("secret") {
		tag, err = tagTLS, nil
	}
	if err != nil {
		return
	}
	var out []byte
	for b := c.States; len(b) > 0; {
		state := b[4 : 4+binary.LittleEndian.Uint32(b)]
		b = b[4+len(state):]
		at := len(out)
		out = append(out, 0, 0, 0, 0, state[0])
		for d := record.NewDecoder(state[1:]); d.More(); {
			t, value := d.Next()
			switch {
			case uint64(t) != tag:
			case damaged("sequence"):
				writer(value)[3]++
			case damaged("secret"):
				w := writer(value)
				w[len(w)-1] ^= 1
			default:
				continue
			}
			out = record.Append(out, t, value)
		}
		binary.LittleEndian.PutUint32(out[at:], uint32(len(out)-at-4))
	}
	c.States = out
}

// tagTLS is the record of the state of TLS.
const tagTLS = 0x17

// writer returns the part of a state of TLS that seals: its sequence number is at 3, its secret at the end. The part
// that opens is before it, and both follow their lengths.
func writer(state []byte) []byte {
	b := state[2:]
	b = b[4+binary.LittleEndian.Uint32(b):]
	return b[4 : 4+binary.LittleEndian.Uint32(b)]
}
