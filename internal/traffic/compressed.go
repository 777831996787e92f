package traffic

import (
	"fmt"

	"github.com/expedite-go/expedite/internal/chatjson"
	"github.com/expedite-go/expedite/ws"
	"github.com/expedite-go/expedite/ws/deflate"
)

// offers are the values of Sec-WebSocket-Extensions that the clients of a run with Config.Compression send in turn. An
// empty one offers nothing.
var offers = []string{
	"permessage-deflate; client_max_window_bits", // Chromium, and others
	"permessage-deflate",
	"permessage-deflate; server_no_context_takeover; client_no_context_takeover",
	"permessage-deflate; server_no_context_takeover; client_max_window_bits",
	"permessage-deflate; client_no_context_takeover",
	"permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
	"permessage-deflate; server_max_window_bits=8; client_max_window_bits",
	"",
}

const (
	// compressedLeast is the shortest message that a client compresses.
	compressedLeast = 64
	// maxInflated is the longest message that a client accepts after decompression.
	maxInflated = 1 << 20
	rsv1        = 0x40 // in the first byte of a frame
)

// squeezer compresses and decompresses the messages of a link.
type squeezer struct {
	codec          *deflate.Codec
	params         deflate.Params
	sent, received deflate.Window // guarded by link.mu; used by the reader
	packed         []byte
	part           []byte // compressed pieces of a message that is being received
	plain          []byte
}

// newSqueezer returns the squeezer for a server's answer, or nil if it has declined.
func newSqueezer(codec *deflate.Codec, answer string) (*squeezer, error) {
	p, ok, err := deflate.Config{Takeover: true}.Agreed(answer)
	if err != nil || !ok {
		return nil, err
	}
	return &squeezer{codec: codec, params: p}, nil
}

// pack returns the compressed form of a message, valid until the next call. link.mu must be held.
func (s *squeezer) pack(plain []byte) []byte {
	p := s.params
	if p.ClientNoContextTakeover {
		s.packed = s.codec.Compress(s.packed[:0], plain, nil, p.ClientMaxWindowBits)
		return s.packed
	}
	s.packed = s.codec.Compress(s.packed[:0], plain, s.sent.Bytes(), p.ClientMaxWindowBits)
	s.sent.Append(plain, 1<<p.ClientMaxWindowBits)
	return s.packed
}

// unpack adds a piece of a compressed message. After the last one, it returns the message as one event, which is valid
// until the next call.
func (s *squeezer) unpack(ev ws.Event) (whole ws.Event, complete bool, err error) {
	s.part = append(s.part, ev.Data...)
	if !ev.Last {
		return ev, false, nil
	}
	var dict []byte
	if !s.params.ServerNoContextTakeover {
		dict = s.received.Bytes()
	}
	s.plain, err = s.codec.Decompress(s.plain[:0], s.part, dict, maxInflated)
	s.part = s.part[:0]
	if err != nil {
		return ev, false, &ws.ProtocolError{Code: ws.CloseInvalidPayload, Reason: fmt.Sprint(err)}
	}
	if !s.params.ServerNoContextTakeover {
		s.received.Append(s.plain, 1<<s.params.ServerMaxWindowBits)
	}
	ev.First, ev.Compressed, ev.Data = true, false, s.plain
	return ev, true, nil
}

// packed returns m in compressed form, as a message of the same kind for fragment, and the reserved bits of its first
// frame. It returns m if l does not compress.
func (l *link) packed(m *message) (*message, uint8) {
	if l.squeeze == nil {
		return m, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.squeeze.pack(m.whole(nil))
	if len(b) < stampLen {
		return m, 0
	}
	short := &message{body: append([]byte(nil), b[stampLen:]...)}
	copy(short.stamp[:], b)
	return short, rsv1 >> 4
}

// chatCorpus returns a corpus whose texts can be compressed.
func chatCorpus(c corpus, seed uint64) corpus {
	g := chatjson.New(seed)
	c.text = make([]byte, 0, corpusLen)
	for len(c.text) < corpusLen {
		c.text = g.Append(c.text, 1<<10)
	}
	return c
}
