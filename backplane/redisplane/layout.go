package redisplane

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// slotCount is the number of slots of a cluster.
const slotCount = 16384

// plan is where the topics of a shard are: at addresses, each with slots of a cluster.
type plan struct {
	addrs   []string
	slots   []uint16 // an index of addrs for each slot; nil if there is one address
	sharded bool     // the servers have sharded channels
}

// layout is a plan that is in use.
type layout struct {
	nodes []*node
	slots []uint16
}

// node returns where a channel is.
func (l *layout) node(channel string) *node {
	if l.slots == nil {
		return l.nodes[0]
	}
	return l.nodes[l.slots[slot(channel)]]
}

// slot returns the slot of a channel: CRC16 (XMODEM) of its name, or of the part in the first braces.
func slot(channel string) uint16 {
	if start := strings.IndexByte(channel, '{'); start >= 0 {
		if size := strings.IndexByte(channel[start+1:], '}'); size > 0 {
			channel = channel[start+1 : start+1+size]
		}
	}
	crc := uint16(0)
	for i := range len(channel) {
		crc = crc<<4 ^ crcTable[byte(crc>>12)^channel[i]>>4]
		crc = crc<<4 ^ crcTable[byte(crc>>12)^channel[i]&15]
	}
	return crc % slotCount
}

// crcTable has the CRC16 of each half of a byte.
var crcTable = [16]uint16{
	0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
	0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
}

// parseSlots returns the plan in an answer to CLUSTER SLOTS. A server that does not know its own host has that of from.
func parseSlots(answer rueidis.RedisResult, from string) (plan, error) {
	ranges, err := answer.ToArray()
	if err != nil {
		return plan{}, err
	}
	p := plan{slots: make([]uint16, slotCount)}
	index := make(map[string]uint16)
	for _, one := range ranges {
		addr, first, last, err := parseRange(one, from)
		if err != nil {
			return plan{}, err
		}
		at, known := index[addr]
		if !known {
			at = uint16(len(p.addrs))
			index[addr] = at
			p.addrs = append(p.addrs, addr)
		}
		for i := first; i <= last; i++ {
			p.slots[i] = at
		}
	}
	if len(p.addrs) == 0 {
		return plan{}, errLayout
	}
	return p, nil
}

// parseRange parses an element of the answer: the first and last slot, then the primary, then replicas.
func parseRange(m rueidis.RedisMessage, from string) (addr string, first, last int64, err error) {
	parts, err := m.ToArray()
	if err != nil || len(parts) < 3 {
		return "", 0, 0, errLayout
	}
	if first, err = parts[0].AsInt64(); err != nil {
		return "", 0, 0, err
	}
	if last, err = parts[1].AsInt64(); err != nil {
		return "", 0, 0, err
	}
	if first < 0 || last >= slotCount {
		return "", 0, 0, fmt.Errorf("backplane: Redis: slots %d to %d", first, last)
	}
	primary, err := parts[2].ToArray()
	if err != nil || len(primary) < 2 {
		return "", 0, 0, errLayout
	}
	host, _ := primary[0].ToString() // null if it is not known
	if host == "" || host == "?" {
		if host, _, err = net.SplitHostPort(from); err != nil {
			return "", 0, 0, err
		}
	}
	port, err := primary[1].AsInt64()
	if err != nil {
		return "", 0, 0, err
	}
	return net.JoinHostPort(host, strconv.FormatInt(port, 10)), first, last, nil
}
