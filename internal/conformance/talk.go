package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// talk runs the part of a case that follows the upgrade.
func (x *exchange) talk() error {
	x.in.r = x.br
	send, want := x.c.Send, x.c.Want
	if x.c.Script != nil {
		send, want = x.c.Script(x.in.agreed)
	}
	if x.plan.Delivery != Together || x.c.Script != nil {
		x.send(nil, send)
	}
	for len(want) > 0 {
		got, err := x.event()
		if want[0].Kind == Close {
			return x.ends(got, err, want[0], send)
		}
		if err != nil {
			return fmt.Errorf("want %s: %w", want[0], err)
		}
		if want, err = without(want, got); err != nil {
			return err
		}
	}
	return x.alive()
}

// without removes from want the event that got must be: the next pong or the next message. A pong may overtake
// messages.
func without(want []Event, got Event) ([]Event, error) {
	i := slices.IndexFunc(want, func(w Event) bool { return w.Kind == Close || (w.Kind == Pong) == (got.Kind == Pong) })
	if i < 0 || want[i].Kind != got.Kind || !bytes.Equal(want[i].Data, got.Data) {
		return nil, fmt.Errorf("got %s, want %s", got, want[max(i, 0)])
	}
	return slices.Delete(slices.Clone(want), i, i+1), nil
}

// event returns the next event, skipping pings.
func (x *exchange) event() (Event, error) {
	for {
		ev, err := x.in.next()
		if err != nil || ev.Kind != Ping {
			return ev, err
		}
	}
}

// alive checks that nothing else has come and that the connection works.
func (x *exchange) alive() error {
	const token = "are you there?"
	<-x.writes
	if _, err := x.conn.Write(ping(token)); err != nil {
		return fmt.Errorf("the server has closed the connection: %w", err)
	}
	switch got, err := x.event(); {
	case err != nil:
		return fmt.Errorf("want the pong to a last ping: %w", err)
	case got.Kind != Pong || string(got.Data) != token:
		return fmt.Errorf("got %s, want nothing but the pong to a last ping", got)
	}
	return nil
}

// ends checks the end of the connection: a close frame with one of the codes, and then nothing. RFC 6455 §7.1.1,
// §7.1.7.
func (x *exchange) ends(got Event, err error, want Event, sent []byte) error {
	switch {
	case errors.Is(err, errServer):
		return err
	case err != nil && gone(err):
		return &weakness{"the connection ended without a close frame"}
	case err != nil:
		return fmt.Errorf("want a close frame with %v: %w", want.Codes, err)
	case got.Kind != Close:
		return fmt.Errorf("got %s, want a close frame with %v", got, want.Codes)
	}
	replied, rest := closeIn(sent)
	if !replied {
		<-x.writes
		_, _ = x.conn.Write(closing(1000, "")) // the server may have closed the connection already
	}
	switch b, err := x.br.ReadByte(); {
	case err == nil:
		return broke("it sent %#x after its close frame (RFC 6455 §5.5.1)", b)
	case isReset(err) && replied && rest == 0: // behind its close frame the client cannot expect to be read
		return &weakness{"the connection was reset, not closed, after the close frame"}
	case !gone(err):
		return fmt.Errorf("want the end of the connection after the close frame (RFC 6455 §7.1.1): %w", err)
	}
	if !slices.Contains(want.Codes, got.Codes[0]) {
		return &weakness{fmt.Sprintf("close code %d (%s), want %v", got.Codes[0], got.Data, want.Codes)}
	}
	return nil
}

// closeIn reports whether a close frame is among frames, and how many bytes follow it.
func closeIn(frames []byte) (found bool, rest int) {
	for len(frames) >= 2 {
		n, head := uint64(frames[1]&0x7f), 2
		switch n {
		case 126:
			head = 4
		case 127:
			head = 10
		}
		if len(frames) < head {
			return false, 0
		}
		if n >= 126 {
			n = 0
			for _, c := range frames[2:head] {
				n = n<<8 | uint64(c)
			}
		}
		if frames[1]&0x80 != 0 {
			head += 4
		}
		rest = len(frames) - head
		if rest < 0 || n > uint64(rest) {
			return false, 0
		}
		if frames[0]&0xf == opClose {
			return true, rest - int(n)
		}
		frames = frames[head+int(n):]
	}
	return false, 0
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// String describes the event in errors.
func (e Event) String() string {
	if e.Kind == Close {
		return fmt.Sprintf("close %v %q", e.Codes, e.Data)
	}
	return fmt.Sprintf("%s of %d bytes (%.40q)", e.Kind, len(e.Data), e.Data)
}
