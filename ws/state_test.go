package ws

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files anew; never for a state version that was released")

// snapshot is a Reader that was stopped within a stream, the rest of the stream, and the events that the rest must
// give.
type snapshot struct {
	name string
	cfg  ReaderConfig
	fed  []byte
	rest []byte
	want []string
}

func snapshots() []snapshot {
	s := func(fin bool, op Opcode, p string) []byte { return frame(Server, fin, op, p) }
	text, ping := s(true, OpText, "grüße"), s(true, OpPing, "12345")
	open := s(false, OpText, "gr\xc3")
	most := s(true, OpPing, strings.Repeat("p", 125))
	long := frame(Server, true, OpBinary, strings.Repeat("z", 300))
	packed := rawFrame(Header{RSV: 4, Opcode: OpText, Masked: true, Length: 2}, "\xff\xfe")
	return []snapshot{
		{name: "start", rest: text, want: []string{"text grüße"}},
		{name: "header", fed: text[:5], rest: text[5:], want: []string{"text grüße"}},
		{name: "long-header", fed: long[:7], rest: long[7:], want: []string{"binary " + strings.Repeat("z", 300)}},
		{name: "payload", fed: text[:short+3], rest: text[short+3:], want: []string{"text grüße"}},
		{name: "between-fragments", fed: open, rest: s(true, OpContinuation, "\xbc"), want: []string{"text grü"}},
		{name: "control", fed: ping[:short+2], rest: ping[short+2:], want: []string{`ping "12345"`}},
		{ // its record has 131 bytes: a length of one byte, where a uvarint would need two
			name: "control-almost-whole", fed: most[:len(most)-1], rest: most[len(most)-1:],
			want: []string{`ping "` + strings.Repeat("p", 125) + `"`},
		},
		{
			name: "control-between-fragments", fed: join(open, ping[:short+4]),
			rest: join(ping[short+4:], s(true, OpContinuation, "\xbc")), want: []string{`ping "12345"`, "text grü"},
		},
		{
			name: "compressed", cfg: ReaderConfig{Compression: true}, fed: packed,
			rest: s(true, OpContinuation, "\xfd"),
			want: []string{"text compressed \xff\xfe\xfd"},
		},
		{name: "done", fed: s(true, OpClose, ""), rest: text},
	}
}

// TestStateOfEveryVersionLoads loads the golden files in testdata, which every later version must be able to load.
func TestStateOfEveryVersionLoads(t *testing.T) {
	for _, s := range snapshots() {
		t.Run(s.name, func(t *testing.T) {
			fed := play(t, &s.cfg, s.fed, nil, false)
			var r Reader
			for in := slices.Clone(s.fed); len(in) > 0; {
				_, in, _ = r.Next(in, &s.cfg)
			}
			file := filepath.Join("testdata", "state-v1", s.name+".hex")
			written := hex.EncodeToString(r.AppendState(nil)) + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(written), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if written != string(golden) {
				t.Errorf("got state %s, want %s", written, golden)
			}
			state, err := hex.DecodeString(strings.TrimSpace(string(golden)))
			if err != nil {
				t.Fatal(err)
			}
			var loaded Reader
			if err := loaded.LoadState(state); err != nil {
				t.Fatalf("got %v, want the state to load", err)
			}
			got := finish(t, &loaded, &s, fed.partial)
			if !slices.Equal(got, s.want) {
				t.Errorf("got events %.200q, want %.200q", got, s.want)
			}
		})
	}
}

// finish feeds the rest of a snapshot to r, which has already returned the partial message.
func finish(t *testing.T, r *Reader, s *snapshot, partial []byte) []string {
	got, open := transcript{partial: partial}, len(partial) > 0
	for in := slices.Clone(s.rest); len(in) > 0; {
		ev, rest, err := r.Next(in, &s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		got.add(t, &ev, &open)
		in = rest
	}
	return got.events
}

func message(flags readerFlags, op Opcode, total, fragments, missing, low, high byte) []byte {
	return []byte{
		tagMessage, 17, byte(flags), byte(op), total, 0, 0, 0, 0, 0, 0, 0, fragments, 0, 0, 0, missing, low, high,
	}
}

func frameRecord(left byte) []byte {
	return []byte{tagFrame, 12, left, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}
}

func TestLoadStateRefusesWhatNoReaderWrote(t *testing.T) {
	v := []byte{stateVersion}
	open := message(flagMessage|flagBegun, OpText, 9, 1, 0, 0, 0)
	inside := message(flagMessage|flagFrame, OpText, 9, 1, 0, 0, 0)
	huge := message(flagMessage|flagFrame, OpText, 0, 1, 0, 0, 0)
	huge[11] = 0x80 // the top bit of total
	rows := []struct {
		name  string
		state []byte
	}{
		{"nothing", nil},
		{"version 0", []byte{0}},
		{"later version", []byte{stateVersion + 1}},
		{"tag without a length", join(v, []byte{tagDone})},
		{"record cut off", join(v, open[:len(open)-1])},
		{"unknown critical tag", join(v, []byte{0x7f, 0})},
		{"the same tag twice", join(v, open, open)},
		{"done with a value", join(v, []byte{tagDone, 1, 0})},
		{"done within a message", join(v, open, []byte{tagDone, 0})},
		{"message record too short", join(v, []byte{tagMessage, 1, 1})},
		{"frame record too short", join(v, inside, []byte{tagFrame, 1, 1})},
		{"unknown flag", join(v, message(0x80|flagMessage, OpText, 0, 1, 0, 0, 0))},
		{"message record of no message", join(v, message(0, OpText, 0, 1, 0, 0, 0))},
		{"flags of no message", join(v, message(flagBegun, 0, 0, 0, 0, 0, 0))},
		{"opcode of no message", join(v, message(0, OpText, 0, 0, 0, 0, 0))},
		{"total of no message", join(v, message(0, 0, 1, 0, 0, 0, 0))},
		{"fragments of no message", join(v, message(0, 0, 0, 1, 0, 0, 0))},
		{"message without fragments", join(v, message(flagMessage, OpText, 0, 0, 0, 0, 0))},
		{"message with a control opcode", join(v, message(flagMessage, OpPing, 0, 1, 0, 0, 0))},
		{"message of opcode continuation", join(v, message(flagMessage, OpContinuation, 0, 1, 0, 0, 0))},
		{"flag of a frame without its record", join(v, inside)},
		{"frame record without the flag", join(v, open, frameRecord(1))},
		{"frame without a message", join(v, frameRecord(1))},
		{"frame with nothing left", join(v, inside, frameRecord(0))},
		{"last fragment without a frame", join(v, message(flagMessage|flagFin, OpText, 9, 1, 0, 0, 0))},
		{"more left than declared", join(v, inside, frameRecord(10))},
		{"total with its top bit", join(v, huge, frameRecord(1))},
		{"four missing bytes", join(v, message(flagMessage, OpText, 9, 1, 4, 0x80, 0xbf))},
		{"next byte may be ASCII", join(v, message(flagMessage, OpText, 9, 1, 1, 0x20, 0xbf))},
		{"next byte out of reach", join(v, message(flagMessage, OpText, 9, 1, 1, 0xa0, 0x90))},
		{"surrogates let in", join(v, message(flagMessage, OpText, 9, 1, 1, 0xa0, 0xbf))},
		{"four-byte character of any second byte", join(v, message(flagMessage, OpText, 9, 1, 3, 0x80, 0xff))},
		{"empty header", join(v, []byte{tagHead, 0})},
		{"complete header", join(v, []byte{tagHead, 2, 0x81, 0x05})},
		{"header with a bad length", join(v, []byte{tagHead, 3, 0x81, 0xff, 0x80})},
		{"header longer than any", join(v, append([]byte{tagHead, 15, 0x81}, make([]byte, 14)...))},
		{"header within a frame", join(v, inside, frameRecord(1), []byte{tagHead, 1, 0x81})},
		{"control record too short", join(v, []byte{tagControl, 6, 9, 1, 5, 0, 0, 0})},
		{"control record of a data frame", join(v, []byte{tagControl, 7, 1, 1, 5, 0, 0, 0, 0})},
		{"control record of a reserved opcode", join(v, []byte{tagControl, 7, 11, 1, 5, 0, 0, 0, 0})},
		{"control frame that is complete", join(v, []byte{tagControl, 8, 9, 1, 1, 0, 0, 0, 0, 'x'})},
		{"control frame over 125 bytes", join(v, []byte{tagControl, 7, 9, 1, 126, 0, 0, 0, 0})},
		{"control frame neither masked nor not", join(v, []byte{tagControl, 7, 9, 2, 5, 0, 0, 0, 0})},
		{"control frame and header", join(v, []byte{tagHead, 1, 0x81}, []byte{tagControl, 7, 9, 1, 5, 0, 0, 0, 0})},
		{"control frame within a frame", join(v, inside, frameRecord(1), []byte{tagControl, 7, 9, 1, 5, 0, 0, 0, 0})},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r := Reader{opcode: OpBinary, flags: flagMessage, fragments: 7}
			before := r
			if err := r.LoadState(row.state); !errors.Is(err, ErrState) {
				t.Fatalf("got %v, want ErrState", err)
			}
			if r != before {
				t.Errorf("got a changed Reader %+v, want %+v", r, before)
			}
		})
	}
}

func TestLoadStateSkipsOptionalTags(t *testing.T) {
	open := message(flagMessage|flagBegun, OpText, 9, 1, 0, 0, 0)
	for _, tag := range []byte{optionalTag, 0xff} {
		var r Reader
		if err := r.LoadState(join([]byte{stateVersion, tag, 3, 1, 2, 3}, open)); err != nil {
			t.Fatal(err)
		}
		if got, want := r.AppendState(nil), join([]byte{stateVersion}, open); !bytes.Equal(got, want) {
			t.Errorf("tag %#x: got %x, want %x", tag, got, want)
		}
	}
}
