package engine

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// limit identifies a limit, so that its hits can be counted.
type limit uint8

const (
	limitHead limit = iota
	limitHeadTime
	limitBodyTime
	limitHandshakes
	limitSilent
	limitPerAddress
	limitHTTPConnections
	limitResponseTime
	limitConnections
	limitAuthorizing
	limitHeld
	limitMessageSize
	limitFragments
	limitQueueClose
	limitDropNewest
	limitDropOldest
	limitMailbox
	limitPongs
	limitSubscriptions
	limitIdle
	limitCloseTime
	limitExpiry
	limitHistory
	limitMemory
	limitRateIn
	limitRateOut
	limitPartial
	limitMinRate
	limitMemoryClose
	limitGap
	limitQueued
	limitPending
	limitInflatedSize
	limitDeflateData
	limitInflateTurn
	limitMessageRate
	limitPublishRate
	limitConnectRate
	limitConnectTable
	limitPerUser
	limitLifetime
	limitForwarded
	limitProxyMissing
	limitProxyInvalid
	limitProxySize
	limitProxyTime
	limitProxyUntrusted
	limitRecoveries
	limitRecall
	numLimits
)

func (l limit) String() string {
	return [numLimits]string{
		"head_size", "head_time", "body_time", "handshakes", "silent", "per_address", "http_connections",
		"response_time", "connections", "authorizing", "opening_queue",
		"message_size", "fragments", "queue_close",
		"queue_drop_newest", "queue_drop_oldest", "mailbox", "pongs", "subscriptions", "idle_time", "close_time",
		"expiry", "handoff_history", "memory", "rate_in", "rate_out",
		"partial", "message_min_rate", "memory_close", "gap", "queued", "pending",
		"inflated_size", "deflate_data", "inflate_turn",
		"message_rate", "publish_rate", "connect_rate", "connect_rate_table", "per_user", "lifetime",
		"forwarded", "proxy_missing", "proxy_invalid", "proxy_size", "proxy_time", "proxy_untrusted",
		"recoveries", "recall_time",
	}[l]
}

// Stats has the statistics of an engine. Counters only increase.
type Stats struct {
	Connections     int // open WebSockets
	Handshaking     int // sockets in their handshake, or refused
	HTTPConnections int // connections of the HTTP fallback: with a request, or kept alive after one
	Subscriptions   int
	QueueBytes      int64 // bytes queued for slow peers
	PartialBytes    int64 // bytes of incomplete messages and request heads

	Accepted uint64 // sockets
	Opened   uint64 // WebSockets
	HTTP     uint64 // requests passed to net/http
	Resets   uint64 // sockets that broke
	Panics   uint64 // callbacks that panicked
	Stalls   uint64 // callbacks that occupied the loop beyond Config.WatchdogLimit
	MovedIn  uint64 // connections that arrived from another worker
	MovedOut uint64
	// Stays counts connections that could not move, by reason, once for each move that they should have been part of.
	Stays map[string]uint64

	TextIn, BinaryIn   uint64 // messages
	TextOut, BinaryOut uint64
	BytesIn, BytesOut  uint64

	// Recovered counts recoveries of subscriptions that were complete, NotRecovered the others, and Recalled the
	// publications of their pages.
	Recovered, NotRecovered, Recalled uint64

	Compressions       uint64          // calls of the compressor: a publication needs few for many connections
	Inflated, Deflated CompressedStats // compressed messages received and sent

	// Closed counts ended WebSockets by close code. The application's codes are counted together as 3xxx and 4xxx: not
	// those of the server, which are 4401, 4403, 4409 and 4429.
	Closed map[string]uint64
	// Refused counts handshakes by the HTTP status of the refusal.
	Refused map[int]uint64
	// Limits counts hits by the name of the limit.
	Limits map[string]uint64

	// LoopLag is the longest turn of the loop since the previous call of Stats.
	LoopLag time.Duration
}

// CompressedStats counts compressed messages and the bytes of their payloads.
type CompressedStats struct {
	Messages, Plain, Compressed uint64
}

// counters are written by the loop. Any goroutine may write those of output.
type counters struct {
	accepted, opened, http, resets, panics atomic.Uint64
	movedIn, movedOut                      atomic.Uint64
	textIn, binaryIn, bytesIn              atomic.Uint64
	textOut, binaryOut, bytesOut           atomic.Uint64
	compressions                           atomic.Uint64
	inflated, deflated                     compressedCounters
	queuedBytes                            atomic.Int64
	pending                                atomic.Int64 // see Engine.weigh
	again                                  atomic.Int64 // the part of queuedBytes that is counted more than once
	limits                                 [numLimits]atomic.Uint64
	stays                                  [numStays]atomic.Uint64
	recovered, notRecovered, recalled      atomic.Uint64
	closes                                 [closeSlots]atomic.Uint64

	refusedMu sync.Mutex
	refusals  map[int]uint64
}

// Counters of close codes: the registered codes 1000 to 1015, two ranges of application
// codes, and the codes that the server sends itself.
const (
	slot3xxx = iota + 16
	slot4xxx
	slotUnauthorized
	slotKicked
	slotReplaced
	slotTooMany
	closeSlots
)

func closeSlot(code ws.CloseCode) int {
	switch {
	case code == CloseExpired:
		return slotUnauthorized
	case code == 4403: // registry.CodeKicked
		return slotKicked
	case code == 4409: // access.CodeReplaced
		return slotReplaced
	case code == 4429: // access.CodeTooMany
		return slotTooMany
	case code >= 4000:
		return slot4xxx
	case code >= 3000:
		return slot3xxx
	case code >= 1000 && code <= 1015:
		return int(code) - 1000
	default:
		return int(ws.CloseNoStatus) - 1000
	}
}

func closeName(slot int) string {
	if slot < slot3xxx {
		return strconv.Itoa(1000 + slot)
	}
	return [...]string{"3xxx", "4xxx", "4401", "4403", "4409", "4429"}[slot-slot3xxx]
}

func (n *counters) limit(l limit)            { n.limits[l].Add(1) }
func (n *counters) closed(code ws.CloseCode) { n.closes[closeSlot(code)].Add(1) }
func (n *counters) queued(bytes int)         { n.queuedBytes.Add(int64(bytes)) }

// received counts the messages of one read.
func (n *counters) received(text, binary uint64) {
	if text > 0 {
		n.textIn.Add(text)
	}
	if binary > 0 {
		n.binaryIn.Add(binary)
	}
}

func (n *counters) sent(op ws.Opcode) {
	if op&0xf == ws.OpText {
		n.textOut.Add(1)
		return
	}
	n.binaryOut.Add(1)
}

// compressedCounters are the counters of CompressedStats.
type compressedCounters struct {
	messages, plain, compressed atomic.Uint64
}

func (n *compressedCounters) add(plain, compressed int) {
	n.messages.Add(1)
	n.plain.Add(uint64(plain))
	n.compressed.Add(uint64(compressed))
}

func (n *compressedCounters) stats() CompressedStats {
	return CompressedStats{n.messages.Load(), n.plain.Load(), n.compressed.Load()}
}

// wrote counts bytes that have left, and how many of them had waited in a queue.
func (n *counters) wrote(bytes, waited int) {
	n.bytesOut.Add(uint64(bytes))
	n.queuedBytes.Add(-int64(waited))
}

func (n *counters) refused(status int) {
	n.refusedMu.Lock()
	defer n.refusedMu.Unlock()
	if n.refusals == nil {
		n.refusals = make(map[int]uint64)
	}
	n.refusals[status]++
}

// Stats returns a snapshot. It is safe for concurrent use.
func (e *Engine) Stats() Stats {
	n := &e.count
	arriving, leaving := e.loop.Sealed()
	s := Stats{
		Connections: e.Len(), Handshaking: int(e.handshakes.Load()), Subscriptions: e.Subscriptions(),
		HTTPConnections: int(e.http.Load()),
		QueueBytes:      n.queuedBytes.Load() + leaving, PartialBytes: e.partials.bytes.Load() + arriving,
		Accepted: n.accepted.Load(), Opened: n.opened.Load(), HTTP: n.http.Load(), Resets: n.resets.Load(),
		Panics: n.panics.Load(), Stalls: e.watch.stalls.Load(),
		MovedIn: n.movedIn.Load(), MovedOut: n.movedOut.Load(),
		Recovered: n.recovered.Load(), NotRecovered: n.notRecovered.Load(), Recalled: n.recalled.Load(),
		TextIn: n.textIn.Load(), BinaryIn: n.binaryIn.Load(),
		TextOut: n.textOut.Load(), BinaryOut: n.binaryOut.Load(),
		BytesIn: n.bytesIn.Load(), BytesOut: n.bytesOut.Load(),
		Compressions: n.compressions.Load(), Inflated: n.inflated.stats(), Deflated: n.deflated.stats(),
		Closed: make(map[string]uint64), Refused: make(map[int]uint64), Limits: make(map[string]uint64),
		Stays: make(map[string]uint64), LoopLag: e.loop.Lag(),
	}
	for slot := range n.closes {
		if v := n.closes[slot].Load(); v > 0 {
			s.Closed[closeName(slot)] = v
		}
	}
	for l := range n.limits {
		if v := n.limits[l].Load(); v > 0 {
			s.Limits[limit(l).String()] = v
		}
	}
	if v := e.loop.Stats().Violations; v > 0 {
		s.Limits["tls_violation"] = v
	}
	for why := range n.stays {
		if v := n.stays[why].Load(); v > 0 {
			s.Stays[stay(why).String()] = v
		}
	}
	n.refusedMu.Lock()
	defer n.refusedMu.Unlock()
	for status, v := range n.refusals {
		s.Refused[status] = v
	}
	return s
}
