package main

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/expedite-go/expedite/internal/chatjson"
	"github.com/expedite-go/expedite/ws"
)

const (
	compressedLen = 1 << 10 // of a message, plain
	script        = 64      // messages that a connection repeats
	window        = 4 << 10 // of the clients, as gws limits it
	withoutBoth   = "; server_no_context_takeover; client_no_context_takeover"
	limited       = "; client_max_window_bits"
)

// compressedScenario is a row of the result with compression.
type compressedScenario struct {
	name, path string
	conns      int
	takeover   bool
	servers    []string // the first one is ours
}

var compressedScenarios = []compressedScenario{
	{"echo, each message by itself, inline", "/echo", 100, false, []string{"expedite shared", "gws shared"}},
	{"echo, each message by itself, on goroutines", "/work", 100, false, []string{"expedite shared", "gws shared"}},
	{"echo, context takeover, inline", "/echo", 100, true, []string{"expedite takeover", "gws takeover"}},
	{"broadcast to 1,000", "/broadcast", 1000, false, []string{"expedite shared", "gws shared", "expedite each"}},
	{"broadcast to 1,000, context takeover", "/broadcast", 1000, true, []string{"expedite takeover"}},
}

// newScript returns the frames of a connection. With takeover, a message refers to those before it, except the first
// one, so that the script can be repeated.
func newScript(takeover bool) (frames [][]byte) {
	g := chatjson.New(7)
	var sent []byte
	for range script {
		plain := g.Append(nil, compressedLen)
		var dict []byte
		if takeover {
			dict = sent[max(0, len(sent)-window):]
		}
		var b bytes.Buffer
		w, _ := flate.NewWriterDict(&b, 6, dict) // the level is valid
		_, _ = w.Write(plain)
		_ = w.Flush()
		frame := ws.AppendMaskedFrame(nil, ws.OpText, 0x12345678, b.Bytes()[:b.Len()-4])
		frame[0] |= 0x40
		frames, sent = append(frames, frame), append(sent, plain...)
	}
	return frames
}

// reply parses the frames of a server, which may arrive in pieces.
type reply struct {
	head [4]byte
	n    int // bytes in head
	left int // bytes of the payload that are missing
}

// count returns the number of frames that end in b.
func (r *reply) count(b []byte) (frames int) {
	for len(b) > 0 {
		if r.left > 0 {
			n := min(r.left, len(b))
			b = b[n:]
			if r.left -= n; r.left == 0 {
				frames++
			}
			continue
		}
		r.head[r.n] = b[0]
		r.n, b = r.n+1, b[1:]
		switch size := int(r.head[1] & 0x7f); {
		case r.n == 2 && size < 126:
			r.n, r.left = 0, size
		case r.n == 4:
			r.n, r.left = 0, int(r.head[2])<<8|int(r.head[3])
		}
	}
	return frames
}

// compareCompressed measures the scenarios with compression.
func compareCompressed(rounds int, length time.Duration, only string) error {
	runtime.LockOSThread()
	for _, sc := range compressedScenarios {
		if only != "" && !strings.Contains(sc.name, only) {
			continue
		}
		cpu, size := make(map[string][]float64), make(map[string]float64)
		for range rounds {
			for _, name := range sc.servers {
				r, bytes, err := measureCompressed(name, sc, length)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				cpu[name] = append(cpu[name], r.cpuPerMessage)
				size[name] = bytes
			}
		}
		fmt.Printf("%s, %d connections, %d B of JSON\n", sc.name, sc.conns, compressedLen)
		ours := median(cpu[sc.servers[0]])
		for _, name := range sc.servers {
			fmt.Printf("  %-18s %8.3f us CPU per message (least %.3f)  %6.1f B per message  %5.2f times ours\n",
				name, median(cpu[name]), slices.Min(cpu[name]), size[name], median(cpu[name])/ours)
		}
	}
	return nil
}

// measureCompressed runs one round against a new server. bytes is the mean length of a frame from the server.
func measureCompressed(name string, sc compressedScenario, length time.Duration) (r result, size float64, err error) {
	s, l, err := startCompressed(name, sc)
	if err != nil {
		return r, 0, err
	}
	defer s.stop()
	defer l.close()
	if _, err := l.run(length / 4); err != nil { // warm-up
		return r, 0, err
	}
	before, start, from := s.cpu(), time.Now(), l.received
	messages, err := l.run(length)
	if err != nil {
		return r, 0, err
	}
	used, took := s.cpu()-before, time.Since(start)
	r = result{
		cpuPerMessage: float64(used.Nanoseconds()) / 1000 / float64(messages),
		perSecond:     float64(messages) / took.Seconds(),
	}
	return r, float64(l.received-from) / float64(messages), nil
}

// startCompressed starts a server and connections that have sent their first message.
func startCompressed(name string, sc compressedScenario) (*server, *load, error) {
	s, err := startServer(name)
	if err != nil {
		return nil, nil, err
	}
	offer := "permessage-deflate" + withoutBoth
	if sc.takeover {
		offer = "permessage-deflate" + limited
	}
	l, err := newLoad(s.addr, sc.path+"\x00"+offer, sc.conns)
	if err != nil {
		s.stop()
		return nil, nil, err
	}
	l.script = newScript(sc.takeover)
	talkers := sc.conns
	if sc.path == "/broadcast" {
		talkers = 1
	}
	if err := l.begin(talkers, 1); err != nil {
		l.close()
		s.stop()
		return nil, nil, err
	}
	return s, l, nil
}

// compressedMemory reports the memory of connections that have exchanged messages for a while.
func compressedMemory(conns int, length time.Duration) error {
	runtime.LockOSThread()
	fmt.Printf("memory of %d connections after an exchange of messages\n", conns)
	for _, name := range []string{"expedite off", "expedite shared", "expedite takeover", "gws shared", "gws takeover"} {
		s, err := startServer(name)
		if err != nil {
			return err
		}
		before, err := s.memory()
		if err != nil {
			return err
		}
		takeover := strings.HasSuffix(name, "takeover")
		path := "/echo"
		if !strings.HasSuffix(name, "off") {
			offer := withoutBoth
			if takeover {
				offer = limited
			}
			path += "\x00permessage-deflate" + offer
		}
		l, err := newLoad(s.addr, path, conns)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(name, "off") {
			l.script = newScript(takeover)
		}
		if err := l.begin(conns, 1); err != nil {
			return err
		}
		if _, err := l.run(length); err != nil {
			return err
		}
		after, err := s.memory()
		if err != nil {
			return err
		}
		fmt.Printf("  %-18s %7.0f bytes per connection (heap and stacks in use after a collection); resident set %.0f\n",
			name, float64(after.InUse-before.InUse)/float64(conns), float64(after.Resident-before.Resident)/float64(conns))
		l.close()
		s.stop()
	}
	return nil
}
