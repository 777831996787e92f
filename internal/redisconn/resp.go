package redisconn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Limits of what a probe accepts from a server that may be no Redis.
const (
	maxProbeBytes    = 1 << 20 // of all answers of a connection; INFO memory has some 3 KiB
	maxProbeElements = 10_000  // of all lists and maps; HELLO has 7
)

// probeConn is a connection to a server that may be no Redis. The client library allocates whatever length an answer
// announces, in goroutines that nobody can recover: every length is checked before the library sees it.
type probeConn struct {
	net.Conn
	check respChecker
}

// Read is part of net.Conn.
func (c *probeConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bad := c.check.next(b[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

var errNotRedis = errors.New("its answer is none of Redis")

// respChecker checks a stream of RESP, in pieces of any size.
type respChecker struct {
	line     []byte // an incomplete line
	skip     int    // bytes of a bulk string that are still to come, with its line end
	answered bool   // the first line is known to be one of Redis
	bytes    int
	elements int
}

// next checks the next piece.
func (c *respChecker) next(b []byte) error {
	if c.bytes += len(b); c.bytes > maxProbeBytes {
		return fmt.Errorf("%w: more than %d bytes", errNotRedis, maxProbeBytes)
	}
	for len(b) > 0 {
		if n := min(c.skip, len(b)); n > 0 {
			b, c.skip = b[n:], c.skip-n
			continue
		}
		end := bytes.IndexByte(b, '\n') + 1
		if end == 0 {
			c.line = append(c.line, b...)
			return nil
		}
		c.line = append(c.line, b[:end]...)
		b = b[end:]
		if err := c.header(string(c.line)); err != nil {
			return err
		}
		c.line = c.line[:0]
	}
	return nil
}

// header checks the line that begins a value.
func (c *respChecker) header(line string) error {
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || text == "" {
		return errNotRedis
	}
	kind, rest := text[:1], text[1:]
	if !c.answered && !strings.Contains("+-*%", kind) { // HELLO is answered with a map, a list, or an error
		return errNotRedis
	}
	c.answered = true
	switch kind {
	case "+", "-", ":", ",", "(":
		return nil
	case "_":
		ok = rest == ""
	case "#":
		ok = rest == "t" || rest == "f"
	case "$", "!", "=":
		n, err := strconv.Atoi(rest)
		if ok = err == nil && n >= -1 && n <= maxProbeBytes; ok && n >= 0 {
			c.skip = n + len("\r\n")
		}
	case "*", "~", ">", "%", "|":
		n, err := strconv.Atoi(rest)
		least := -1
		if kind == "%" || kind == "|" { // there is no map that is none
			least = 0
		}
		if ok = err == nil && n >= least && n <= maxProbeElements-c.elements; ok {
			c.elements += max(n, 0)
		}
	default:
		ok = false
	}
	if !ok {
		return errNotRedis
	}
	return nil
}
