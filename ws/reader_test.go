package ws

import (
	"bytes"
	"strings"
	"testing"
)

// TestWholeTakesShortMessages holds which frames take the fast path, and that all others are left as they were. Where
// whole takes none, next returns the same events, but more slowly.
func TestWholeTakesShortMessages(t *testing.T) {
	server, client := ReaderConfig{}, ReaderConfig{Role: Client}
	s := func(fin bool, op Opcode, p string) []byte { return frame(Server, fin, op, p) }
	full := strings.Repeat("z", 125)
	rows := []struct {
		name string
		cfg  ReaderConfig
		in   []byte
		want int
	}{
		{"text", server, s(true, OpText, "hello"), 11},
		{"text beyond ASCII", server, s(true, OpText, "grüße"), 13},
		{"binary that is no UTF-8", server, s(true, OpBinary, "\xff"), 7},
		{"empty", server, s(true, OpText, ""), 6},
		{"125 bytes", server, s(true, OpBinary, full), 131},
		{"with the next frame behind it", server, join(s(true, OpText, "a"), s(true, OpText, "b")), 7},
		{"of a server", client, frame(Client, true, OpText, "hello"), 7},
		{"of the limit", ReaderConfig{MaxMessage: 5}, s(true, OpText, "hello"), 11},
		{"without a limit", ReaderConfig{MaxMessage: -1, MaxFragments: 1}, s(true, OpText, "hello"), 11},
		{"over the limit", ReaderConfig{MaxMessage: 4}, s(true, OpText, "hello"), 0},
		{"no message is allowed", ReaderConfig{MaxFragments: -1}, s(true, OpText, "hello"), 0},
		{"cut off in the payload", server, s(true, OpText, "hello")[:10], 0},
		{"cut off in the header", server, s(true, OpText, "")[:5], 0},
		{"first fragment", server, s(false, OpText, "hello"), 0},
		{"continuation", server, s(true, OpContinuation, "hello"), 0},
		{"ping", server, s(true, OpPing, "hello"), 0},
		{"RSV1", server, rawFrame(Header{Fin: true, RSV: 4, Opcode: OpText, Masked: true, Length: 1}, "a"), 0},
		{"not masked", server, frame(Client, true, OpText, "hello, world"), 0},
		{"masked by a server", client, s(true, OpText, "hello"), 0},
		{"text that is no UTF-8", server, s(true, OpText, "a\xffb"), 0},
		{"text that ends within a character", server, s(true, OpText, "a\xc3"), 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			in := bytes.Clone(row.in)
			if got := new(Reader).whole(in, &row.cfg); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
			if row.want == 0 && !bytes.Equal(in, row.in) {
				t.Errorf("got %x, want %x unchanged", in, row.in)
			}
		})
	}
}
