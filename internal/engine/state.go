package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"

	"github.com/expedite-go/expedite/internal/record"
	"github.com/expedite-go/expedite/ws"
)

// The range of state versions that this build reads. It writes the latest. See Batch.
const (
	StateVersionMin = 1
	StateVersion    = 1
)

// ErrState means that bytes are not the state of a connection, or that they hold a record that this build does not know
// and must not ignore.
var ErrState = errors.New("engine: bad connection state")

// errUnknown means that the other build is newer, so that all connections are concerned, and not only a damaged one.
var errUnknown = errors.New("this build does not know it")

// A connection's state is its version (1 byte) and a list of records, as package record encodes them. Numbers are
// little-endian. A record that is missing has its zero value.
const (
	tagID       = 0x01 // 8
	tagPhase    = 0x02 // 1
	tagRemote   = 0x03 // netip.AddrPort in binary
	tagTimes    = 0x04 // Conn.lastRead and lastPing: ns of CLOCK_MONOTONIC, 8 each
	tagPath     = 0x05 // of the route
	tagOwner    = 0x06 // of Route.Save
	tagTopic    = 0x07 // repeated
	tagReader   = 0x08 // of ws.Reader
	tagInbound  = 0x09 // opcode of the message, bytes of the incomplete input
	tagLoopBits = 0x0a // 1
	tagPressed  = 0x0b // empty: a Drain is due
	tagFrames   = 0x0c // repeated: one or more waiting frames
	tagPinned   = 0x0d // repeated, in order with tagFrames: bytes that must leave
	tagEnding   = 0x0e // close code (2), reason
	tagEvent    = 0x0f // repeated: a callback that is due: kind, opcode, data
	tagCarried  = 0x10 // of Handler.Suspend
	tagSeen     = 0x11 // 8: number of the last publication that it has had, if larger than the batch's position
	tagDeflate  = 0x12 // 1: deflate.Params.Pack; only of a connection with permessage-deflate
	tagReceived = 0x13 // of windows.in: what the peer's next message may refer to
	tagSent     = 0x14 // of windows.out
	tagLinked   = 0x15 // like tagFrames, one frame: see chunkLinked
	tagRecovery = 0x16 // repeated: of a recovery, see recovery.appendTo
	tagTLS      = 0x17 // of reactor.Socket.Suspend: has secrets
	lastTag     = tagTLS
	tagExpiry   = 0x81 // 8: Conn.expires
	tagProgress = 0x82 // of the message in tagInbound: ns of its period, bytes received in it, 8 each
	tagParting  = 0x83 // like tagEnding, for a connection that is still open: see Conn.part
	tagKept     = 0x84 // empty: kept alive after an HTTP request
	tagSource   = 0x85 // name of Conn.Source, before the handshake is over
	tagVia      = 0x86 // 1: Conn.via
	tagMark     = 0x87 // repeated: epoch (8), offset (8), topic of a Mark
	tagHeld     = 0x88 // the topic of the publication in the tagEvent before
	tagLifetime = 0x90 // 8: meter.ends
	tagMessages = 0x91 // 8: meter.next
	tagSkipping = 0x92 // empty: meter.skipping
)

// movedLoopBits are the flags that also apply in the next worker.
const movedLoopBits = bitHangup | bitSwallow | bitPeerClosed | bitFailed | bitShut | bitSettling

// state is the decoded state of a connection.
type state struct {
	id          uint64
	phase       uint32
	remote      netip.AddrPort
	source      string
	via         via
	read, ping  int64
	expires     int64
	path        string
	owner       []byte
	sealed      []byte // nil without TLS
	topics      []string
	recoveries  []*recovery
	marks       []Mark
	reader      ws.Reader
	op          ws.Opcode
	inbound     []byte
	hasInbound  bool
	elapsed     int64
	got         int
	loopBits    loopBits
	pressed     bool
	out         []chunk
	end         *ending
	events      []event
	carried     []byte
	seen        uint64
	wantsResume bool
	agreed      agreement
	received    []byte
	sent        []byte
	meter       meter
}

// appendState appends the state of c, whose phase was ph. Call it on the loop, between two events, with c.mu held.
func (c *Conn) appendState(dst []byte, ph uint32, carried []byte) []byte {
	dst = append(dst, StateVersion)
	dst = append(record.AppendHeader(dst, tagPhase, 1), byte(ph))
	if c.id != 0 {
		dst = record.AppendUint64(dst, tagID, c.id)
	}
	if remote, err := c.remote.MarshalBinary(); err == nil && len(remote) > 0 {
		dst = record.Append(dst, tagRemote, remote)
	}
	if name := c.Source().Name; ph == phaseHead && name != "" {
		dst = record.Append(dst, tagSource, name)
	}
	if sealed := c.sock.Suspend(); sealed != nil {
		dst = record.Append(dst, tagTLS, sealed)
		clear(sealed)
	}
	if c.via != 0 {
		dst = append(record.AppendHeader(dst, tagVia, 1), byte(c.via))
	}
	dst = record.AppendHeader(dst, tagTimes, 16)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.lastRead))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.lastPing))
	if c.route != nil && c.route.Path != "" {
		dst = record.Append(dst, tagPath, c.route.Path)
		if c.route.Save != nil {
			dst = record.Append(dst, tagOwner, c.route.Save(c))
		}
	}
	if c.expires != 0 {
		dst = record.AppendUint64(dst, tagExpiry, uint64(c.expires))
	}
	if ph >= phaseOpen {
		dst = c.appendDeflate(dst)
	}
	dst = c.meter().append(dst)
	dst = c.appendInput(dst)
	dst = c.appendOutput(dst)
	if c.end != nil {
		tag := byte(tagEnding)
		if ph == phaseOpen {
			tag = tagParting
		}
		dst = record.AppendHeader(dst, tag, 2+len(c.end.reason))
		dst = binary.LittleEndian.AppendUint16(dst, uint16(c.end.code))
		dst = append(dst, c.end.reason...)
	}
	if carried != nil {
		dst = record.Append(dst, tagCarried, carried)
	}
	return c.appendEvents(dst)
}

// appendInput appends the incomplete input.
func (c *Conn) appendInput(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, tagReader, 0)
	dst = c.reader.AppendState(dst)
	if n := len(dst) - at - 2; n == 1 { // just the version
		dst = dst[:at]
	} else {
		dst = record.Append(dst[:at], tagReader, append([]byte(nil), dst[at+2:]...))
	}
	if c.in != nil {
		dst = record.AppendHeader(dst, tagInbound, 1+len(c.in.buf))
		dst = append(append(dst, byte(c.in.op)), c.in.buf...)
		if c.in.since != 0 && c.phase.Load() == phaseOpen {
			dst = record.AppendHeader(dst, tagProgress, 16)
			dst = binary.LittleEndian.AppendUint64(dst, uint64(c.in.elapsed(c.eng.loop.Now())))
			dst = binary.LittleEndian.AppendUint64(dst, uint64(c.in.got))
		}
	}
	if bits := c.loopBits & movedLoopBits; bits != 0 {
		dst = append(record.AppendHeader(dst, tagLoopBits, 1), byte(bits))
	}
	if c.loopBits&bitKept != 0 {
		dst = record.AppendHeader(dst, tagKept, 0)
	}
	return dst
}

// appendOutput appends the queued output. The next worker continues a frame that has begun to leave at its next byte.
func (c *Conn) appendOutput(dst []byte) []byte {
	if c.bits&bitPressed != 0 {
		dst = record.AppendHeader(dst, tagPressed, 0)
	}
	if c.out == nil {
		return dst
	}
	c.out.split()
	for _, ch := range c.out.chunks {
		tag := byte(tagFrames)
		switch ch.kind {
		case chunkPinned:
			tag = tagPinned
		case chunkLinked:
			tag = tagLinked
		}
		dst = record.Append(dst, tag, ch.buf)
	}
	return dst
}

// appendDeflate appends what compression needs in the next worker. Older releases, which cannot continue the
// connection, refuse it.
func (c *Conn) appendDeflate(dst []byte) []byte {
	if c.agreed == 0 {
		return dst
	}
	dst = append(record.AppendHeader(dst, tagDeflate, 1), byte(c.agreed))
	w := c.windows()
	if w == nil {
		return dst
	}
	if b := w.in.Bytes(); len(b) > 0 {
		dst = record.Append(dst, tagReceived, b)
	}
	if b := w.out.Bytes(); len(b) > 0 {
		dst = record.Append(dst, tagSent, b)
	}
	return dst
}

// appendEvents appends the callbacks that are due.
func (c *Conn) appendEvents(dst []byte) []byte {
	if c.box == nil {
		return dst
	}
	from := 0
	for _, l := range c.box.waiting.events {
		data := c.box.waiting.arena[from:l.until]
		from = l.until
		if c.bits&bitOver != 0 && (l.kind == eventMessage || l.kind == eventDrain) {
			continue
		}
		if l.held != nil && l.held.over.Load() {
			continue
		}
		dst = record.AppendHeader(dst, tagEvent, 2+len(data))
		dst = append(append(dst, byte(l.kind), byte(l.op)), data...)
		if l.held != nil {
			dst = record.Append(dst, tagHeld, l.held.topic)
		}
	}
	return dst
}

// parseState decodes a state. The result aliases b, except for its strings.
func parseState(b []byte) (*state, error) {
	if len(b) == 0 || b[0] < StateVersionMin || b[0] > StateVersion {
		return nil, fmt.Errorf("%w: version: %w", ErrState, errUnknown)
	}
	s := new(state)
	for d := record.NewDecoder(b[1:]); d.More(); {
		tag, value := d.Next()
		if err := d.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrState, err)
		}
		switch {
		case s.load(tag, value) || tag >= record.Optional:
		case tag > lastTag:
			return nil, fmt.Errorf("%w: record %#x: %w", ErrState, tag, errUnknown)
		default:
			return nil, fmt.Errorf("%w: record %#x of %d bytes", ErrState, tag, len(value))
		}
	}
	if !s.plausible() {
		return nil, fmt.Errorf("%w: records contradict each other", ErrState)
	}
	return s, nil
}

// load stores one record. It reports whether the record is known and well formed; if not, s stays unchanged.
func (s *state) load(tag byte, v []byte) bool {
	switch tag {
	case tagPhase, tagVia, tagLoopBits:
		return s.loadByte(tag, v)
	case tagSkipping:
		s.meter.skipping = true
	case tagID, tagSeen, tagExpiry, tagTimes, tagProgress, tagLifetime, tagMessages:
		return s.loadNumbers(tag, v)
	case tagTLS:
		s.sealed = v
	case tagRemote:
		return s.remote.UnmarshalBinary(v) == nil
	case tagSource:
		s.source = string(v)
	case tagPath:
		s.path = string(v)
	case tagOwner:
		s.owner = v
	case tagTopic, tagRecovery, tagMark:
		return s.loadTopic(tag, v)
	case tagCarried:
		s.carried, s.wantsResume = v, true
	case tagReader:
		return s.reader.LoadState(v) == nil
	case tagInbound:
		if len(v) > 0 {
			s.op, s.inbound, s.hasInbound = ws.Opcode(v[0]), v[1:], true
		}
		return len(v) > 0
	case tagKept:
		s.loopBits |= bitKept
	case tagPressed:
		s.pressed = true
	case tagFrames:
		s.out = append(s.out, chunk{buf: v, kind: chunkFrames})
	case tagPinned:
		s.out = append(s.out, chunk{buf: v, kind: chunkPinned})
	case tagLinked:
		s.out = append(s.out, chunk{buf: v, kind: chunkLinked})
		return len(v) > 0 && frameLen(v) == len(v)
	case tagDeflate:
		if len(v) == 1 {
			s.agreed = agreedOn | agreement(v[0])
		}
		return len(v) == 1
	case tagReceived:
		s.received = v
	case tagSent:
		s.sent = v
	case tagEnding, tagParting:
		if len(v) < 2 {
			return false
		}
		s.end = &ending{code: ws.CloseCode(binary.LittleEndian.Uint16(v)), reason: string(v[2:])}
	case tagEvent:
		if len(v) < 2 || !movable(eventKind(v[0])) {
			return false
		}
		s.events = append(s.events, event{kind: eventKind(v[0]), op: ws.Opcode(v[1]), data: v[2:]})
	case tagHeld:
		if n := len(s.events); n > 0 && s.events[n-1].kind == eventFrame {
			s.events[n-1].held = &heldTopic{topic: string(v)}
		}
	default:
		return false
	}
	return true
}

// loadTopic stores a record of a topic.
func (s *state) loadTopic(tag byte, v []byte) bool {
	switch tag {
	case tagTopic:
		s.topics = append(s.topics, string(v))
	case tagRecovery:
		r := parseRecovery(v)
		if r == nil {
			return false
		}
		s.recoveries = append(s.recoveries, r)
	case tagMark:
		if len(v) < markLen {
			return false
		}
		s.marks = append(s.marks, parseMark(v))
	}
	return true
}

// loadByte stores a record of one byte.
func (s *state) loadByte(tag byte, v []byte) bool {
	if len(v) != 1 {
		return false
	}
	switch tag {
	case tagPhase:
		s.phase = uint32(v[0])
	case tagVia:
		s.via = via(v[0])
	case tagLoopBits:
		s.loopBits |= loopBits(v[0]) & movedLoopBits
	}
	return true
}

// loadNumbers stores a record of one or two 8-byte numbers.
func (s *state) loadNumbers(tag byte, v []byte) bool {
	size := 8
	if tag == tagTimes || tag == tagProgress {
		size = 16
	}
	if len(v) != size {
		return false
	}
	first, second := binary.LittleEndian.Uint64(v), binary.LittleEndian.Uint64(v[size-8:])
	switch tag {
	case tagID:
		s.id = first
	case tagSeen:
		s.seen = first
	case tagExpiry:
		s.expires = int64(first)
	case tagLifetime:
		s.meter.ends = int64(first)
	case tagMessages:
		s.meter.next = int64(first)
	case tagTimes:
		s.read, s.ping = int64(first), int64(second)
	case tagProgress:
		s.elapsed, s.got = int64(first), int(min(second, math.MaxInt32))
	}
	return true
}

// movable reports whether a callback that is due moves with its connection.
func movable(k eventKind) bool { return k <= eventDrain || k >= eventGap && k <= eventRecovered }

// plausible reports whether a connection can be in this state.
func (s *state) plausible() bool {
	if s.agreed == 0 && s.compresses() || s.agreed != 0 && s.phase < phaseOpen {
		return false
	}
	if (s.sealed != nil) != (s.via&viaSecure != 0) { // nothing is sent in the clear to a client that uses TLS
		return false
	}
	switch s.phase {
	case phaseHead:
		return s.id == 0 && s.path == "" && len(s.topics)+len(s.recoveries) == 0 && len(s.events) == 0
	case phaseRefused:
		return s.id == 0
	case phaseOpen: // an end in this phase was caused by the peer
		return s.id != 0 && s.path != "" && (s.end == nil || s.loopBits&bitSwallow != 0)
	case phaseClosing: // without a path, its endpoint was gone already
		return s.id != 0 && s.end != nil
	default:
		return false
	}
}

// compresses reports whether the state has records that only a connection with compression has.
func (s *state) compresses() bool {
	return len(s.received) > 0 || len(s.sent) > 0
}
