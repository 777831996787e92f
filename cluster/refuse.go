package cluster

import (
	"io"
	"os"
	"time"
)

const (
	// maxRefusals is the number of sockets that may be refused at the same time. The others are closed without
	// waiting for the client.
	maxRefusals = 256
	// refusalLimit is how long a client has to send its request and read the refusal.
	refusalLimit = time.Second
	// refusalRead is the number of bytes of a client's request that are read.
	refusalRead = 64 << 10
	// soonEnough is the longest time that clients wait for the next start of a worker. Beyond it they are refused.
	soonEnough = time.Second
)

// refusals writes Config.Refusal to sockets and closes them.
type refusals struct {
	bytes []byte
	slots chan struct{} // bounds the goroutines
}

func newRefusals(bytes []byte) *refusals {
	return &refusals{bytes: bytes, slots: make(chan struct{}, maxRefusals)}
}

// refuse writes the refusal to a socket and closes it. It does not block.
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
		_, _ = writeFD(fd, r.bytes) // the close may destroy it if the client has sent something
		closeFD(fd)
	}
}

// answer writes the refusal once the client has sent something: an HTTP client does not expect a response earlier. Then
// it reads until the client closes, because closing a socket with unread data would destroy the response in transit.
func (r *refusals) answer(f *os.File) {
	defer f.Close()
	_ = f.SetDeadline(time.Now().Add(refusalLimit))
	if n, _ := f.Read(make([]byte, 4096)); n == 0 { // the client has closed, or sent nothing
		return
	}
	if _, err := f.Write(r.bytes); err != nil {
		return
	}
	shutdownWrite(f)
	_, _ = io.CopyN(io.Discard, f, refusalRead)
}
