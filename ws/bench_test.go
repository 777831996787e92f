package ws

import (
	"bytes"
	"strings"
	"testing"
)

// benchReader feeds the same bytes to a Reader again and again. The masking key is zero, so that unmasking in place
// does not change them; it costs the same as with any other key.
func benchReader(b *testing.B, op Opcode, payload string, frames int) {
	one := AppendMaskedFrame(nil, op, 0, []byte(payload))
	in := bytes.Repeat(one, frames)
	var r Reader
	cfg := &ReaderConfig{}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := in; len(rest) > 0; {
			ev, more, err := r.Next(rest, cfg)
			if err != nil || !ev.Last {
				b.Fatalf("got %v, %v", ev, err)
			}
			rest = more
		}
	}
}

// Run with: go test -run xxx -bench . ./ws

func BenchmarkReader(b *testing.B) {
	b.Run("text of 20 bytes", func(b *testing.B) { benchReader(b, OpText, "twenty bytes of text", 1) })
	b.Run("16 texts of 20 bytes", func(b *testing.B) { benchReader(b, OpText, "twenty bytes of text", 16) })
	b.Run("binary of 20 bytes", func(b *testing.B) { benchReader(b, OpBinary, "twenty bytes of text", 1) })
	b.Run("text of 1 KiB", func(b *testing.B) { benchReader(b, OpText, strings.Repeat("z", 1<<10), 1) })
	b.Run("text of 64 KiB", func(b *testing.B) { benchReader(b, OpText, strings.Repeat("z", 64<<10), 1) })
	b.Run("binary of 64 KiB", func(b *testing.B) { benchReader(b, OpBinary, strings.Repeat("z", 64<<10), 1) })
	b.Run("ping", func(b *testing.B) {
		in := AppendMaskedFrame(nil, OpPing, 0, []byte("ping"))
		var r Reader
		cfg := &ReaderConfig{}
		b.ReportAllocs()
		for b.Loop() {
			if ev, _, err := r.Next(in, cfg); err != nil || ev.Kind != KindPing {
				b.Fatalf("got %v, %v", ev, err)
			}
		}
	})
}

func BenchmarkMask(b *testing.B) {
	for name, n := range map[string]int{"20 bytes": 20, "1 KiB": 1 << 10, "64 KiB": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			p := make([]byte, n+3)[3:]
			b.SetBytes(int64(n))
			for b.Loop() {
				Mask(p, testKey, 1)
			}
		})
	}
}

func BenchmarkUTF8(b *testing.B) {
	for name, s := range map[string]string{
		"ASCII 20 B":    "twenty bytes of text",
		"ASCII 64 KiB":  strings.Repeat("z", 64<<10),
		"German 64 KiB": strings.Repeat("Grüße aus Köln, schöne ", 64<<10/27),
		"Greek 64 KiB":  strings.Repeat("Καλημέρα κόσμε ", 64<<10/28),
		"CJK 64 KiB":    strings.Repeat("你好世界", 64<<10/12),
		"emoji 64 KiB":  strings.Repeat("\U0001f600", 64<<10/4),
	} {
		b.Run(name, func(b *testing.B) {
			p := []byte(s)
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				var u textState
				if u.write(p) != len(p) || !u.complete() {
					b.Fatal("got valid text refused")
				}
			}
		})
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload, dst := []byte("twenty bytes of text"), make([]byte, 0, 64)
	b.Run("server", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = AppendFrame(dst[:0], OpText, payload)
		}
	})
	b.Run("client", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst = AppendMaskedFrame(dst[:0], OpText, testKey, payload)
		}
	})
}

func BenchmarkHandshake(b *testing.B) {
	head, err := sampleClient().AppendRequest(nil)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 1<<10)
	b.ReportAllocs()
	for b.Loop() {
		r, err := ParseRequest(head)
		if err != nil {
			b.Fatal(err)
		}
		h, err := r.Negotiate([]string{"chat"})
		if err != nil {
			b.Fatal(err)
		}
		if dst, err = AppendResponse(dst[:0], h); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	payload, cfg := []byte("twenty bytes of text"), &ReaderConfig{}
	in := join(AppendMaskedFrame(nil, OpText, 0, payload), AppendMaskedFrame(nil, OpPing, 0, payload),
		AppendMaskedFrame(nil, OpBinary, 0, bytes.Repeat(payload, 100)))
	ping, bad := AppendMaskedFrame(nil, OpPing, 0, payload), frame(Server, true, OpContinuation, "")
	dst := make([]byte, 0, 256)
	var r Reader
	rows := []struct {
		name string
		run  func()
	}{
		{"whole frames", func() {
			for rest := in; len(rest) > 0; {
				_, rest, _ = r.Next(rest, cfg)
			}
		}},
		{"a ping alone", func() { _, _, _ = r.Next(ping, cfg) }},
		{"frames cut in header and payload", func() {
			for _, part := range [][]byte{in[:3], in[3:20], in[20:]} {
				for len(part) > 0 {
					_, part, _ = r.Next(part, cfg)
				}
			}
		}},
		{"protocol error", func() { _, _, _ = new(Reader).Next(bad, cfg) }},
		{"AppendFrame", func() { dst = AppendFrame(dst[:0], OpText, payload) }},
		{"AppendMaskedFrame", func() { dst = AppendMaskedFrame(dst[:0], OpText, testKey, payload) }},
		{"AppendClose", func() { dst, _ = AppendClose(dst[:0], CloseNormal, "bye") }},
		{"AppendState", func() { dst = r.AppendState(dst[:0]) }},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, row.run); got != 0 {
				t.Errorf("got %v allocations, want 0", got)
			}
		})
	}
}
