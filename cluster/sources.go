package cluster

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// sources are a worker's view of the primary's listeners: the tags by number, and its copies of listening sockets. They
// are safe for concurrent use.
type sources struct {
	mu     sync.Mutex
	tagOf  map[uint16]string
	copies []sourceCopy
}

// sourceCopy is a worker's copy of a listening socket.
type sourceCopy struct {
	number uint16
	ln     *TaggedListener
}

// Listener returns the first of Listeners; nil if there is none.
func (s *Self) Listener() net.Listener {
	if list := s.Listeners(); len(list) > 0 {
		return list[0].Listener
	}
	return nil
}

// Listeners returns the listening sockets from which the worker has to accept. With policies other than None there are
// none. Closing one does not close it in the primary.
func (s *Self) Listeners() (list []*TaggedListener) {
	s.sources.mu.Lock()
	defer s.sources.mu.Unlock()
	for _, c := range s.sources.copies {
		list = append(list, c.ln)
	}
	return list
}

// receive reads the listening sockets that come before anything else. Early releases send one, without a payload.
func (s *sources) receive(conn *fdpass.Conn) error {
	for want := 1; len(s.copies) < want; {
		f, err := conn.Read()
		if err != nil {
			return err
		}
		if f.Kind != kindListener || len(f.FDs) != 1 {
			closeFDs(f.FDs)
			return errors.New("not received")
		}
		if len(f.Payload) >= 4 {
			want = int(binary.LittleEndian.Uint16(f.Payload))
		}
		if _, err := s.add(f); err != nil {
			return err
		}
	}
	return nil
}

// add makes a listener of a frame with a listening socket, which it closes.
func (s *sources) add(f fdpass.Frame) (*TaggedListener, error) {
	file := os.NewFile(uintptr(f.FDs[0]), "listener")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	c := sourceCopy{ln: &TaggedListener{Listener: ln}}
	if len(f.Payload) >= 4 {
		c.number, c.ln.Tag = binary.LittleEndian.Uint16(f.Payload[2:]), string(f.Payload[4:])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.copies = append(s.copies, c)
	return c.ln, nil
}

// name records the tag of an endpoint.
func (s *sources) name(payload []byte) {
	if len(payload) < 2 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tagOf == nil {
		s.tagOf = make(map[uint16]string)
	}
	s.tagOf[binary.LittleEndian.Uint16(payload)] = string(payload[2:])
}

// tags returns the tags of the sockets of a batch.
func (s *sources) tags(f fdpass.Frame) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]string, len(f.FDs))
	numbers := f.Payload[4:]
	for i := range list {
		var n uint16
		if len(numbers) >= 2*i+2 {
			n = binary.LittleEndian.Uint16(numbers[2*i:])
		}
		list[i] = s.tagOf[n]
	}
	return list
}

// take removes the copy of an endpoint's socket and returns it; nil if there is none.
func (s *sources) take(number uint16) *TaggedListener {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.copies, func(c sourceCopy) bool { return c.number == number })
	if i < 0 {
		return nil
	}
	ln := s.copies[i].ln
	s.copies = slices.Delete(s.copies, i, i+1)
	return ln
}

// close closes all copies.
func (s *sources) close() error {
	s.mu.Lock()
	list := s.copies
	s.copies = nil
	s.mu.Unlock()
	var errs []error
	for _, c := range list {
		if err := c.ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// listen passes a further listening socket to Hooks.Listen.
func (s *Self) listen(h *Hooks, f fdpass.Frame) {
	if len(f.FDs) != 1 || h.Listen == nil {
		closeFDs(f.FDs)
		return
	}
	if ln, err := s.sources.add(f); err == nil {
		h.Listen(ln)
	}
}

// retire passes a listening socket to Hooks.Retire.
func (s *Self) retire(h *Hooks, payload []byte) {
	if len(payload) < 2 {
		return
	}
	ln := s.sources.take(binary.LittleEndian.Uint16(payload))
	switch {
	case ln == nil:
	case h.Retire == nil:
		_ = ln.Close()
	default:
		h.Retire(ln)
	}
}
