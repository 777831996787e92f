package reactor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// The state of a sealed socket that moves to another process, little endian:
//
//	version 1 · flags 1 · five parts, each after its length (4): Reader, Writer, part, plain, rest · sizes, 2 each
const (
	sealedVersion = 1

	flagEnded  = 1 // nothing more can be read: the peer has ended, or broken TLS
	flagShut   = 2
	flagFinish = 4
	flagOwes   = 8
	flagBroken = 16 // with flagEnded: by an error. Earlier builds do not know it
)

// errBroken is what reads return if an earlier one has failed in another process.
var errBroken = errors.New("reactor: the connection broke before it moved")

// ErrSealed reports bytes that are not the state of a socket with TLS.
var ErrSealed = errors.New("reactor: not the state of a socket with TLS")

// Suspend returns what Resume needs to continue the TLS of s in another process: secrets, and bytes on their way. It is
// nil if s has no TLS. Nobody may read or write s from then on, until Return.
func (s Socket) Suspend() []byte {
	t := s.sealed()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	flags, to := byte(0), t.leaves
	if to == nil {
		to = new(leaving)
	}
	for flag, set := range map[byte]bool{
		flagEnded: t.end() != nil, flagShut: to.shut, flagFinish: to.finish, flagOwes: to.owes,
		flagBroken: t.end() != nil && !errors.Is(t.end(), io.EOF),
	} {
		if set {
			flags |= flag
		}
	}
	var in, out [tlsrecord.MaxState]byte
	defer clear(in[:])
	defer clear(out[:])
	parts := [...][]byte{t.in.AppendState(in[:0]), t.out.AppendState(out[:0]), t.part(), t.plain(), t.rest()}
	size := 2 + 2*maxSizes
	for _, part := range parts {
		size += 4 + len(part)
	}
	b := append(make([]byte, 0, size), sealedVersion, flags) // of this size, so that no copies of secrets are left
	for _, part := range parts {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return to.sizes.append(b)
}

// Drop closes the descriptor of a socket that another process continues: the peer notices nothing.
func (s Socket) Drop() error {
	if t := s.sealed(); t != nil {
		t.forget()
	}
	return fdClose(s.FD())
}

// Return puts a socket that was taken off the loop by Remove back on it. If there is an error, s is closed.
func (l *Loop) Return(s Socket) (Key, Socket, error) {
	k, back, err := l.Attach(s.FD())
	switch t := s.sealed(); {
	case t == nil:
	case err != nil:
		t.forget()
	default:
		back = l.seal(k, s.FD(), t)
	}
	return k, back, err
}

// Resume is Attach for a socket whose TLS was suspended in another process. It does not keep state. It owns the
// descriptor even if there is an error.
func (l *Loop) Resume(fd int, state []byte) (Key, Socket, error) {
	t, err := parseSealed(state)
	if err != nil {
		_ = fdClose(fd)
		return Key{}, Socket{}, err
	}
	k, _, err := l.Attach(fd)
	if err != nil {
		return Key{}, Socket{}, err
	}
	return k, l.seal(k, fd, t), nil
}

// parseSealed copies what it keeps.
func parseSealed(b []byte) (*sealed, error) {
	if len(b) < 2 || b[0] != sealedVersion {
		return nil, ErrSealed
	}
	flags := b[1]
	b = b[2:]
	var parts [5][]byte
	for i := range parts {
		if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
			return nil, ErrSealed
		}
		n := 4 + int(binary.LittleEndian.Uint32(b))
		if n > 4 {
			parts[i] = append([]byte(nil), b[4:n]...)
		}
		b = b[n:]
	}
	in, errIn := tlsrecord.ParseReader(parts[0])
	out, errOut := tlsrecord.ParseWriter(parts[1])
	clear(parts[0])
	clear(parts[1])
	if err := errors.Join(errIn, errOut); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	t := &sealed{in: *in, out: *out, arrives: &arriving{part: parts[2], plain: parts[3]}}
	switch {
	case flags&flagBroken != 0:
		t.setEnd(errBroken)
	case flags&flagEnded != 0:
		t.setEnd(io.EOF)
	}
	to := t.leaving()
	if rest := parts[4]; len(rest) > 0 {
		to.rest = &rest
	}
	to.shut, to.finish, to.owes = flags&flagShut != 0, flags&flagFinish != 0, flags&flagOwes != 0
	if len(t.part()) >= tlsrecord.MaxRecord || !to.sizes.parse(b) {
		return nil, ErrSealed
	}
	if t.arrived(); to.nothing() && to.sizes.used == 0 {
		t.leaves = nil
	}
	return t, nil
}
