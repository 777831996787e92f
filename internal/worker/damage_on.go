//go:build damage

package worker

import (
	"encoding/binary"
	"os"
	"strconv"

	"github.com/expedite-go/expedite/internal/handoff"
	"github.com/expedite-go/expedite/internal/record"
)

// damageVariable names what is done wrong: fence, forward, hold, position, one (the first state of each batch has a
// phase that does not exist), one of sealedDamage, or the number of a record
// that is left out of all states.
const damageVariable = "EXPEDITE_DAMAGE"

// sealedDamage is what is done to the parts of the state of TLS: what opens, what seals, the beginning of a record,
// what was opened, and what was sealed and has not left. In the first two, the sequence number is at 3 and the secret
// at the end.
var sealedDamage = map[string]func(parts [][]byte){
	"sequence":         func(parts [][]byte) { parts[1][3]++ },
	"secret":           func(parts [][]byte) { parts[1][len(parts[1])-1] ^= 1 },
	"opening sequence": func(parts [][]byte) { parts[0][3]++ },
	"opening secret":   func(parts [][]byte) { parts[0][len(parts[0])-1] ^= 1 },
	"begun":            func(parts [][]byte) { parts[2] = nil },
	"sealed":           func(parts [][]byte) { parts[4] = nil },
}

func damaged(what string) bool { return os.Getenv(damageVariable) == what }

// damage takes a piece of the state away from connections that leave.
func damage(c *handoff.BatchData) {
	if damaged("position") {
		c.Position += 2
	}
	if damaged("one") && len(c.States) > 0 {
		c.States[7] = 99 // behind length, version, and the head of the record
	}
	tag, err := strconv.ParseUint(os.Getenv(damageVariable), 0, 8)
	harm := sealedDamage[os.Getenv(damageVariable)]
	if harm != nil {
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
			case harm != nil:
				value = harmed(value, harm)
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

// harmed returns a state of TLS with changed parts. They come after a version and flags, each after its length.
func harmed(state []byte, harm func(parts [][]byte)) []byte {
	var parts [][]byte
	rest := state[2:]
	for range 5 {
		n := 4 + binary.LittleEndian.Uint32(rest)
		parts, rest = append(parts, append([]byte(nil), rest[4:n]...)), rest[n:]
	}
	harm(parts)
	out := append([]byte(nil), state[:2]...)
	for _, part := range parts {
		out = append(binary.LittleEndian.AppendUint32(out, uint32(len(part))), part...)
	}
	return append(out, rest...)
}
