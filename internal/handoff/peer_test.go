//go:build unix

package handoff

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// peer is a worker whose frames the test writes and reads.
type peer struct {
	t    *testing.T
	mu   sync.Mutex // a host may read instead of the test
	conn *fdpass.Conn
}

func newPeer(t *testing.T, f *os.File) *peer {
	t.Helper()
	c, err := fdpass.NewConn(f, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = c.Close() })
	t.Cleanup(func() { late.Stop(); _ = c.Close() })
	return &peer{t: t, conn: c}
}

// read expects a frame of a kind.
func (p *peer) read(kind byte) fdpass.Frame {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	f, err := p.conn.Read()
	if err != nil || f.Kind != kind {
		p.t.Fatalf("read kind %d, %q, %v, want kind %d", f.Kind, f.Payload, err, kind)
	}
	return f
}

// batch expects a batch, whose descriptors it closes, and returns its number.
func (p *peer) batch() uint32 {
	p.t.Helper()
	f := p.read(kindBatch)
	closeAll(f.FDs)
	no, _, c, err := parseBatch(f.Payload, f.FDs)
	if err != nil || len(c.States) != 8*len(c.FDs) {
		p.t.Fatalf("batch of %d bytes, %d descriptors: %v", len(c.States), len(c.FDs), err)
	}
	return no
}

func (p *peer) write(kind byte, payload []byte) {
	p.t.Helper()
	if err := p.conn.Write(fdpass.AppendFrame(nil, kind, 0, payload)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) hello() {
	p.t.Helper()
	p.write(kindHello, Hello{StateMin: 1, StateMax: 1, FreeFDs: 1 << 20}.append(nil))
}

func (p *peer) ack(no uint32) {
	p.t.Helper()
	p.write(kindAck, binary.LittleEndian.AppendUint32(nil, no))
}

func (p *peer) nack(no uint32, why string) {
	p.t.Helper()
	p.write(kindNack, append(binary.LittleEndian.AppendUint32(nil, no), why...))
}

func (p *peer) close() { _ = p.conn.Close() }

// eof expects the end of the channel.
func (p *peer) eof() {
	p.t.Helper()
	if f, err := p.conn.Read(); err == nil {
		p.t.Errorf("read kind %d, want the end", f.Kind)
	}
}

// send sends a batch as a giver would, and closes its descriptors.
func (p *peer) send(w *world, no uint32, ids ...uint64) {
	p.t.Helper()
	c := BatchData{}
	for _, id := range ids {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			p.t.Fatal(err)
		}
		w.clients[id] = fds[1]
		c.FDs, c.States = append(c.FDs, fds[0]), binary.LittleEndian.AppendUint64(c.States, id)
	}
	frame := fdpass.AppendFrame(nil, kindBatch, len(c.FDs), appendBatch(nil, no, 0, c))
	if err := p.conn.WriteFDs(frame, c.FDs); err != nil {
		p.t.Fatal(err)
	}
	closeAll(c.FDs)
}
