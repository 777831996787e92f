package cluster

import (
	"io"
	"os"
	"time"
)

const (
	// maxRefusals is the number of sockets that may be refused at a time; those beyond are not waited for.
	maxRefusals = 256
	// refusalLimit is how long a client has to say something, and then to read the refusal.
	refusalLimit = time.Second
	// refusalRead is the number of bytes of a client that are read.
	refusalRead = 64 << 10
	// soonEnough is the longest time until the next start of a worker that clients are let wait for.
	soonEnough = time.Second
)

// refusals are sockets that get Config.Refusal and are closed.
type refusals struct {
	bytes []byte
	slots chan struct{} // a place for each that is under way
}

func newRefusals(bytes []byte) *refusals {
	return &refusals{bytes: bytes, slots: make(chan struct{}, maxRefusals)}
}

// refuse closes a socket after the refusal. It does not wait.
func (r *refusals) refuse(fd int) {
	if len(r.bytes) == 0 {
		closeFD(fd)
		return
	}
	select {
	case r.slots <- struct{}{}:
		go func() { // ends with refusalLimit
			defer func() { <-r.slots }()
			r.answer(os.NewFile(uintptr(fd), "client"))
		}()
	default:
		_, _ = writeFD(fd, r.bytes) // a client that has sent something may not see it
		closeFD(fd)
	}
}

// answer writes when the client has said something: it may not expect an answer before. It reads until the client
// closes, because a close with something unread would destroy the answer on its way.
func (r *refusals) answer(f *os.File) {
	defer f.Close()
	_ = f.SetDeadline(time.Now().Add(refusalLimit))
	if n, _ := f.Read(make([]byte, 4096)); n == 0 { // gone, or silent
		return
	}
	if _, err := f.Write(r.bytes); err != nil {
		return
	}
	shutdownWrite(f)
	_, _ = io.CopyN(io.Discard, f, refusalRead)
}

// judge has new connections refused while all slots are down. On the run loop, after each change of a slot.
func (p *Primary) judge() {
	down := len(p.slots) > 0 && p.unready == 0
	for _, s := range p.slots {
		down = down && s.down
	}
	p.disp.setRefusing(down)
}
