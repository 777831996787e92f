package traffic

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/ws"
)

// TestDrainUnderLoad drains clients whose connections cannot move, while they send as fast as the server answers, or
// have not read for a while. Each of them gets the answers in order, without a gap, and then 1012. A client with
// TLS 1.3 beside them moves, if the loop has its records.
func TestDrainUnderLoad(t *testing.T) {
	for _, c := range []struct {
		name     string
		version  uint16
		standard bool
	}{{"TLS 1.2", tls.VersionTLS12, false}, {"TLS 1.3 by crypto/tls", tls.VersionTLS13, true}} {
		t.Run(c.name, func(t *testing.T) { drainUnderLoad(t, c.version, c.standard) })
	}
}

func drainUnderLoad(t *testing.T, version uint16, standard bool) {
	cfg := serverConfig{Workers: 2, Standard: standard}
	client := secured(t, &cfg)
	s := launch(t, "", cfg)
	const clients = 30
	began := make(chan struct{}) // the reload
	var wg sync.WaitGroup
	dial := func(version uint16) *drainClient {
		limited := client.Clone()
		limited.MaxVersion = version
		nc, err := tls.Dial("tcp", s.addr, limited)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		_ = nc.SetDeadline(time.Now().Add(2 * time.Minute))
		l := &link{nc: nc, gone: make(chan struct{}), rng: rand.New(rand.NewPCG(1, 1))}
		if err := l.handshake(s.addr, "/echo", cut{}); err != nil {
			t.Fatal(err)
		}
		return &drainClient{nc: nc, read: l.ahead, room: make(chan struct{}, 100), over: make(chan struct{})}
	}
	var answered [clients]uint64
	for i := range clients {
		d := dial(version)
		wg.Go(func() {
			if i%3 == 0 {
				<-began
			}
			n, err := d.listen(nil)
			close(d.over)
			if answered[i] = n; err != nil {
				t.Errorf("client %d, after %d answers: %v", i, n, err)
			}
		})
		go d.send(i%3 == 0) // ends with the connection, or when nobody listens
	}
	stay := dial(tls.VersionTLS13)
	defer stay.nc.Close()
	for n := range uint64(10) {
		if err := stay.message(n); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := stay.listen(func(n uint64) bool { return n == 10 }); err != nil {
		t.Fatal(err)
	}
	want := int64(clients)
	if standard {
		want++
		wg.Go(func() {
			if _, err := stay.listen(nil); err != nil {
				t.Errorf("the one beside them: %v", err)
			}
		})
	}
	close(began)
	res, err := s.reload(control.ReloadRequest{})
	wg.Wait()
	if err != nil || int64(res.Drained) != want || int64(res.Drained+res.Moved) != clients+1 {
		t.Errorf("got %+v, %v, want %d drained", res, err, want)
	}
	if !standard {
		err := stay.message(10)
		if err == nil {
			_, err = stay.listen(func(n uint64) bool { return n == 11 })
		}
		if err != nil {
			t.Errorf("the one that has moved: %v", err)
		}
	}
	total := uint64(0)
	for _, n := range answered {
		total += n
	}
	t.Logf("%d answers, %+v", total, res)
	s.end()
}

// drainClient sends numbered messages to an echo, and checks the answers.
type drainClient struct {
	nc   *tls.Conn
	rd   ws.Reader
	read []byte
	part []byte
	next uint64        // expected next
	room chan struct{} // for messages that are not answered
	over chan struct{} // closed when nobody listens any more

	mu     sync.Mutex // guards closed, and is held while a frame is written
	closed bool
}

// message sends a message of 8 to 4,000 bytes that begins with a number.
func (d *drainClient) message(n uint64) error {
	b := make([]byte, 8+n*97%3993)
	binary.LittleEndian.PutUint64(b, n)
	return d.write(ws.OpBinary, b)
}

func (d *drainClient) write(op ws.Opcode, b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return context.Canceled
	}
	d.closed = op == ws.OpClose
	_, err := d.nc.Write(ws.AppendMaskedFrame(nil, op, 0x1234567, b))
	return err
}

// send sends until the connection ends, or a hundred messages only.
func (d *drainClient) send(few bool) {
	for n := uint64(0); !few || n < 100; n++ {
		select {
		case d.room <- struct{}{}:
		case <-d.over:
			return
		}
		if d.message(n) != nil {
			return
		}
	}
}

// listen reads answers until it has enough, or until 1012, to which it answers. It returns how many there were.
func (d *drainClient) listen(enough func(uint64) bool) (uint64, error) {
	buf := make([]byte, 16<<10)
	for {
		for len(d.read) > 0 {
			ev, rest, err := d.rd.Next(d.read, &ws.ReaderConfig{Role: ws.Client, MaxMessage: 1 << 20})
			d.read = rest
			switch {
			case err != nil:
				return d.next, err
			case ev.Kind == ws.KindClose && ev.Code == ws.CloseServiceRestart:
				return d.next, d.write(ws.OpClose, []byte{0x03, 0xf4})
			case ev.Kind == ws.KindClose:
				return d.next, fmt.Errorf("closed with %d %s", ev.Code, ev.Data)
			case ev.Kind != ws.KindData:
				continue
			}
			if d.part = append(d.part, ev.Data...); !ev.Last {
				continue
			}
			if got := binary.LittleEndian.Uint64(d.part); got != d.next || len(d.part) != int(8+got*97%3993) {
				return d.next, fmt.Errorf("got %d with %d bytes, want %d", got, len(d.part), d.next)
			}
			d.part = d.part[:0]
			select {
			case <-d.room:
			default: // nobody has waited for it
			}
			if d.next++; enough != nil && enough(d.next) {
				return d.next, nil
			}
		}
		n, err := d.nc.Read(buf)
		d.read = append(d.read, buf[:n]...)
		if err != nil && n == 0 {
			return d.next, errors.Join(errors.New("the end without a close frame"), err)
		}
	}
}
