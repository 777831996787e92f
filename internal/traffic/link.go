package traffic

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// cut describes how bytes are written: in pieces of least to most bytes, with random pauses between them of at most
// twice the mean. If most is 0, everything is written at once.
type cut struct {
	least, most int
	mean        time.Duration
}

// link is a client's connection. Its methods are safe for concurrent use, except that only one goroutine may call
// listen.
type link struct {
	nc      net.Conn
	control func(network, address string, c syscall.RawConn) error // called before connecting; may be nil
	tls     *tls.Config                                            // nil: none
	stop    <-chan struct{}                                        // when closed, pauses end early
	gone    chan struct{}                                          // closed by the reader when the connection has ended

	offer   string // of extensions
	codec   *deflate.Codec
	squeeze *squeezer // nil without compression

	mu  sync.Mutex // held while a whole frame is written
	rng *rand.Rand
	out []byte

	reader ws.Reader
	in     []byte // read buffer
	ahead  []byte // bytes read past the handshake response
}

const (
	readRoom     = 2 << 10
	responseRoom = 1 << 10
)

// open connects and performs the handshake, writing the request as c describes.
func (l *link) open(ctx context.Context, addr, target string, c cut) error {
	dialer := net.Dialer{Control: l.control}
	nc, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	if l.tls != nil {
		nc = tls.Client(&choppy{Conn: nc, link: l, rng: rand.New(rand.NewPCG(l.rng.Uint64(), 4))}, l.tls)
	}
	l.nc = nc
	unwatch := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer unwatch()
	if err := l.handshake(addr, target, c); err != nil {
		_ = nc.Close()
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
		return err
	}
	return nil
}

// chopMean is the mean pause within a record.
const chopMean = time.Millisecond

// choppy is a connection below TLS. It writes half of the records in two pieces, cut at any byte.
type choppy struct {
	net.Conn
	link *link
	rng  *rand.Rand // used by one writer at a time, as tls.Conn writes
}

// Write implements net.Conn.
func (c *choppy) Write(p []byte) (int, error) {
	cut := 0
	if len(p) > 0 && c.rng.IntN(2) == 0 {
		cut = c.rng.IntN(len(p))
	}
	if cut > 0 {
		if _, err := c.Conn.Write(p[:cut]); err != nil {
			return 0, err
		}
		c.link.pause(c.rng, chopMean)
	}
	n, err := c.Conn.Write(p[cut:])
	return cut + n, err
}

func (l *link) handshake(addr, target string, c cut) error {
	req := ws.ClientRequest{Host: addr, Target: target, Extensions: l.offer}
	binary.LittleEndian.PutUint64(req.Key[:], l.rng.Uint64())
	binary.LittleEndian.PutUint64(req.Key[8:], l.rng.Uint64())
	b, err := req.AppendRequest(nil)
	if err != nil {
		return err
	}
	if err := l.write(b, c); err != nil {
		return err
	}
	l.in = make([]byte, readRoom)
	head := make([]byte, 0, responseRoom)
	for {
		from := len(head)
		n, err := l.nc.Read(l.in)
		head = append(head, l.in[:n]...)
		if end := ws.HeadEnd(head, from); end >= 0 {
			l.ahead = head[end:]
			shake, err := req.ParseResponse(head[:end])
			if err == nil && l.offer != "" {
				l.squeeze, err = newSqueezer(l.codec, shake.Extensions)
			}
			return err
		}
		if err != nil {
			return fmt.Errorf("handshake response: %w", err)
		}
		if len(head) > responseRoom {
			return fmt.Errorf("handshake response: %.60q", head)
		}
	}
}

// write writes b in pieces. The caller must hold mu or be the only user of l.
func (l *link) write(b []byte, c cut) error {
	for len(b) > 0 {
		n := len(b)
		if c.most > 0 {
			n = min(n, c.least+l.rng.IntN(c.most-c.least+1))
		}
		if _, err := l.nc.Write(b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) > 0 {
			l.pause(l.rng, c.mean)
		}
	}
	return nil
}

// pause waits for a random time of at most twice the mean. If stop or gone is closed, it returns early and reports
// false.
func (l *link) pause(rng *rand.Rand, mean time.Duration) bool {
	if mean <= 0 {
		return true
	}
	t := time.NewTimer(randomTo(rng, 2*mean))
	defer t.Stop()
	select {
	case <-l.stop:
		return false
	case <-l.gone:
		return false
	case <-t.C:
		return true
	}
}

func randomTo(rng *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(most) + 1))
}

// send writes a message or a control frame as a single frame.
func (l *link) send(op ws.Opcode, payload []byte, c cut) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.squeeze != nil && !op.IsControl() && len(payload) >= compressedLeast {
		l.out = ws.AppendMaskedFrame(l.out[:0], op|rsv1, l.rng.Uint32(), l.squeeze.pack(payload))
	} else {
		l.out = ws.AppendMaskedFrame(l.out[:0], op, l.rng.Uint32(), payload)
	}
	return l.write(l.out, c)
}

// fragment writes a frame that contains h.Length bytes of m, starting at off. It buffers one piece at a time.
func (l *link) fragment(h ws.Header, m *message, off int, c cut) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.Masked, h.Key = true, l.rng.Uint32()
	l.out = ws.AppendHeader(l.out[:0], h)
	for done, first := 0, true; first || done < int(h.Length); first = false {
		n := min(int(h.Length)-done, c.least+l.rng.IntN(c.most-c.least+1))
		at := len(l.out)
		l.out = slices.Grow(l.out, n)[:at+n]
		m.copyTo(l.out[at:], off+done)
		ws.Mask(l.out[at:], h.Key, done)
		b := l.out
		if first { // cuts in or near the header
			k := l.rng.IntN(min(len(b), ws.MaxHeader+2))
			if _, err := l.nc.Write(b[:k]); err != nil {
				return err
			}
			b = b[k:]
			l.pause(l.rng, c.mean/2)
		}
		if _, err := l.nc.Write(b); err != nil {
			return err
		}
		done += n
		l.out = l.out[:0]
		l.pause(l.rng, c.mean)
	}
	return nil
}

// close sends the close frame.
func (l *link) close(code ws.CloseCode) (err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out, err = ws.AppendMaskedClose(l.out[:0], l.rng.Uint32(), code, ""); err != nil {
		return err
	}
	_, err = l.nc.Write(l.out)
	return err
}

// listen reads and answers pings until the connection ends. If pace is not nil, listen calls it before each read to get
// the maximum number of bytes to read.
func (l *link) listen(pace func() int, on func(ws.Event)) error {
	cfg := ws.ReaderConfig{Role: ws.Client, Compression: l.squeeze != nil}
	in := l.ahead
	for {
		for len(in) > 0 {
			ev, rest, err := l.reader.Next(in, &cfg)
			if err != nil {
				return err
			}
			if in = rest; ev.Kind == ws.KindPing {
				if err := l.send(ws.OpPong, ev.Data, cut{}); err != nil {
					return err
				}
			} else if ev.Kind != ws.KindNeedMore {
				if ev.Compressed {
					whole, complete, err := l.squeeze.unpack(ev)
					if err != nil {
						return err
					}
					if !complete {
						continue
					}
					ev = whole
				}
				on(ev)
			}
		}
		room := len(l.in)
		if pace != nil {
			room = min(room, pace())
		}
		n, err := l.nc.Read(l.in[:room])
		if n == 0 && err != nil {
			return err
		}
		in = l.in[:n]
	}
}
