package redisconn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Limits of what a Probe accepts from a server, which may not be a Redis.
const (
	maxProbeBytes    = 1 << 20 // of all answers on a connection; INFO memory has about 3 KiB
	maxProbeElements = 10_000  // of all lists and maps; HELLO has 7
)

// checkedConn is a connection to a server that may not be a Redis. The client library allocates as much memory as an
// answer announces, and panics on negative lengths in goroutines of its own. checkedConn therefore checks every length
// before the library reads it.
type checkedConn struct {
	net.Conn
	check respChecker
}

// Read reads from the connection and fails at the first byte that is not valid RESP.
func (c *checkedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if bad := c.check.next(b[:n]); bad != nil {
		return 0, bad
	}
	return n, err
}

var errNotRedis = errors.New("not an answer of Redis")

// respChecker checks a stream of RESP (the protocol of Redis) that comes in pieces of any size.
type respChecker struct {
	line     []byte // an incomplete line
	skip     int    // bytes of a bulk string that have not come yet, including its line end
	answered bool   // the first line was valid
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

// header checks the first line of a value.
func (c *respChecker) header(line string) error {
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || text == "" {
		return errNotRedis
	}
	kind, rest := text[:1], text[1:]
	if !c.answered && !strings.Contains("+-*%", kind) { // the answer to HELLO is a map, a list, or an error
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
		if kind == "%" || kind == "|" { // a map cannot be null
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
