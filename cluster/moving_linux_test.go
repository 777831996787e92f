package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// The frames between workers that move connections.
const (
	tellConn  byte = iota + 1 // + a connection
	tellCount                 // a number of connections that do not exist (8)
	tellDone                  // everything was taken
)

// stuckAfter is how long a giver waits for the taker.
const stuckAfter = 300 * time.Millisecond

// movingWorker is a worker that moves its connections. It answers each byte of a client with a line: the worker's name.
type movingWorker struct {
	*testWorker
	play string

	mu      sync.Mutex
	open    map[net.Conn]chan struct{} // closed when nothing reads from it any more
	pretend int                        // number of connections that do not exist
}

func (w *testWorker) moves(h *Hooks, play string) {
	m := &movingWorker{testWorker: w, play: play, open: make(map[net.Conn]chan struct{})}
	h.Conns = func(fds []int) int {
		for _, fd := range fds {
			if c, err := Conn(fd); err == nil {
				_, _ = fmt.Fprintln(c, w.self.Slot(), w.self.Generation())
				m.hold(c)
			}
		}
		return len(fds)
	}
	h.Give = func(o Move, f *os.File) { go m.give(o, f) } // ends with Given
	h.Take = func(o Move, f *os.File) { go m.take(o, f) } // ends with Taken
	h.Settle = func(Move) { w.say("settled") }
	h.Stay = func() { w.say("stays") }
	if play == "pretend" {
		loads := strings.Fields(os.Getenv(loadEnv))
		if i := w.self.Slot() - 1; i < len(loads) {
			m.pretend, _ = strconv.Atoi(loads[i])
		}
	}
	go m.reportOften(play == "pretend") // ends with the process
}

// loadEnv is the number of connections that workers pretend to have, by slot.
const loadEnv = "EXPEDITE_TEST_LOAD"

func (m *movingWorker) reportOften(pretend bool) {
	for range time.Tick(10 * time.Millisecond) {
		m.mu.Lock()
		n := len(m.open)
		if pretend {
			n = m.pretend
		}
		m.mu.Unlock()
		_ = m.self.Report(n, nil)
	}
}

// hold serves a connection until its client disconnects or it moves away.
func (m *movingWorker) hold(c net.Conn) {
	end := make(chan struct{})
	m.mu.Lock()
	m.open[c] = end
	n := len(m.open)
	m.mu.Unlock()
	_ = m.self.Report(n, nil)
	go func() { // ends with the client, or when the connection moves away
		defer close(end)
		b := make([]byte, 1)
		for {
			_, err := c.Read(b)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
			if err != nil {
				break
			}
			_, _ = fmt.Fprintln(c, m.self.Slot(), m.self.Generation())
		}
		m.mu.Lock()
		delete(m.open, c)
		m.mu.Unlock()
		_ = c.Close()
	}()
}

// freeze takes up to n connections out of service; negative is all.
func (m *movingWorker) freeze(n int) (list []net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c, end := range m.open {
		if n >= 0 && len(list) >= n {
			break
		}
		_ = c.SetReadDeadline(time.Unix(1, 0))
		m.mu.Unlock()
		<-end
		m.mu.Lock()
		if _, ok := m.open[c]; ok {
			delete(m.open, c)
			_ = c.SetReadDeadline(time.Time{})
			list = append(list, c)
		}
	}
	return list
}

// give moves connections away. They stay open here until the taker has confirmed all of them.
func (m *movingWorker) give(o Move, f *os.File) {
	conn, err := fdpass.NewConn(f, maxFrame)
	if err != nil {
		_ = m.self.Given(o, MoveResult{Error: err.Error()})
		return
	}
	defer conn.Close()
	switch {
	case m.play == "reluctant" && m.self.Generation() == 1,
		m.play == "unwilling" && m.self.Slot() == 1, m.play == "unwilling-last" && m.self.Slot() == 2:
		_ = m.self.Given(o, MoveResult{Error: "will not", Staying: len(m.open)})
		return
	case m.play == "pretend":
		m.givePretended(o, conn)
		return
	}
	list := m.freeze(o.Count)
	for i, c := range list {
		if m.play == "giverdies" && m.self.Slot() == 1 && i == len(list)/2 {
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
			select {}
		}
		raw, _ := duplicate(c.(Handle))
		err = errors.Join(err, conn.WriteFDs(fdpass.AppendFrame(nil, tellConn, 1, nil), []int{raw}))
		closeFD(raw)
		_ = m.self.MoveProgress(o, i+1, len(list)-i-1)
	}
	if err == nil {
		err = conn.CloseWrite()
	}
	if err == nil {
		err = m.awaitTaker(o, conn)
	}
	if err != nil {
		for _, c := range list {
			m.hold(c)
		}
		_ = m.self.Given(o, MoveResult{Error: err.Error(), Returned: len(list), Moved: len(list)})
		return
	}
	for _, c := range list {
		_ = c.Close()
	}
	_ = m.self.Given(o, MoveResult{Moved: len(list)})
}

// awaitTaker waits for the taker's confirmation.
func (m *movingWorker) awaitTaker(o Move, conn *fdpass.Conn) error {
	stuck := time.AfterFunc(stuckAfter, func() {
		if m.play == "stuck-taker" {
			_ = m.self.Stuck(o)
		}
	})
	defer stuck.Stop()
	if f, err := conn.Read(); err != nil || f.Kind != tellDone {
		return errors.New("the taker is gone") // EOF, or a reset if it had not read everything
	}
	return nil
}

// givePretended moves connections that do not exist.
func (m *movingWorker) givePretended(o Move, conn *fdpass.Conn) {
	m.mu.Lock()
	n := m.pretend
	if o.Count >= 0 {
		n = min(n, o.Count)
	}
	m.pretend -= n
	m.mu.Unlock()
	b := binary.LittleEndian.AppendUint64(nil, uint64(n))
	res := MoveResult{Moved: n}
	if err := errors.Join(conn.Write(fdpass.AppendFrame(nil, tellCount, 0, b)), conn.CloseWrite()); err != nil {
		res = MoveResult{Error: err.Error()}
	}
	_ = m.self.Given(o, res)
}

// take accepts connections.
func (m *movingWorker) take(o Move, f *os.File) {
	conn, err := fdpass.NewConn(f, maxFrame)
	if err != nil {
		_ = m.self.Taken(o, MoveResult{Error: err.Error()})
		return
	}
	defer conn.Close()
	var got []net.Conn
	for {
		f, err := conn.Read()
		if m.self.Generation() > 1 {
			switch m.play {
			case "takerdies":
				_ = unix.Kill(os.Getpid(), unix.SIGKILL)
				select {}
			case "stuck-taker":
				select {}
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
			break
		}
		switch f.Kind {
		case tellCount:
			m.mu.Lock()
			m.pretend += int(binary.LittleEndian.Uint64(f.Payload))
			m.mu.Unlock()
		case tellConn:
			if c, err := Conn(f.FDs[0]); err == nil {
				got = append(got, c)
			}
		}
	}
	_ = conn.Write(fdpass.AppendFrame(nil, tellDone, 0, nil)) // a giver that has died does not need it
	for _, c := range got {
		m.hold(c)
	}
	_ = m.self.Taken(o, MoveResult{Moved: len(got), Freeze: time.Millisecond})
}
