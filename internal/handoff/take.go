package handoff

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/fdpass"
)

// arrived validates a batch and takes it. It writes the ACK before anything is read from the sockets.
func (e *End) arrived(fr *fdpass.Frame) error {
	back := e.role == roleReverting && !e.returned && len(e.flight) == 0 // everything was answered before REVERT was read
	if e.role != roleTaking && !back {
		return fmt.Errorf("%w: unexpected batch", errFrame)
	}
	no, frozen, data, err := parseBatch(fr.Payload, fr.FDs)
	if err != nil {
		return err
	}
	if !back && e.peer.protocol >= 2 { // what comes back has nowhere else to go
		data.Spare = maxRefused
	}
	fr.FDs = nil // the host takes them over, or they are closed below
	if back {
		e.progress = e.opt.Now()
	}
	switch {
	case e.refusing:
		closeAll(data.FDs)
		return e.refuse(no, "a batch before it was refused")
	case fr.Lost > 0:
		closeAll(data.FDs)
		return e.refuse(no, fmt.Sprintf("%d of %d descriptors could not be received: too many open files",
			fr.Lost, fr.Lost+len(data.FDs)))
	}
	arrivals, err := e.host.Admit(data)
	if err != nil {
		return e.refuse(no, err.Error())
	}
	// If the other side has died, this one owns the connections all the same.
	_ = e.ch.sendNow(kindAck, appendAck(nil, no, arrivals.Refused()))
	if e.gave {
		e.out.Returned += arrivals.Len()
	} else {
		e.out.Moved += arrivals.Len()
	}
	e.out.Freeze = max(e.out.Freeze, time.Duration(e.opt.Now()-frozen))
	arrivals.IDs(func(id uint64) {
		delete(e.gone, id)
		if back {
			if e.back == nil {
				e.back = make(map[uint64]bool)
			}
			e.back[id], e.held[id] = true, nil
		}
	})
	e.host.Start(arrivals)
	return nil
}

// refuse answers that a batch was not taken.
func (e *End) refuse(no uint32, reason string) error {
	e.refusing = true
	return e.ch.sendNow(kindNack, append(binary.LittleEndian.AppendUint32(nil, no), reason...))
}

// ended handles END: the other side gives nothing more.
func (e *End) ended() error {
	switch e.role {
	case roleTaking:
		e.role = roleSettling
		return e.ch.sendNow(kindGot, nil)
	case roleReverting: // sent after everything that was forwarded, which comes back before LAST
		if len(e.flight) > 0 || e.returned {
			return errFrame
		}
		e.returned = true
		e.ch.send(kindGot, nil, nil)
		return nil
	default:
		return errFrame
	}
}

// last handles LAST: the other side forwards nothing more.
func (e *End) last() error {
	if e.gave != e.returned || !e.gave && e.role != roleSettling {
		return errFrame
	}
	e.close(e.failure)
	return nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}
