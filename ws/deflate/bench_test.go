package deflate

import (
	"bytes"
	stdflate "compress/flate"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/expedite-go/expedite/internal/chatjson"
)

// Run with: go test -run xxx -bench . ./ws/deflate
//
// Each benchmark has what others take for the same message beside it, so that ratios hold on any machine.

const benchMessage = 1024

// conversation is a row of messages, joined.
func conversation(n int) []byte {
	var all []byte
	for g := chatjson.New(1); n > 0; n-- {
		all = g.Append(all, benchMessage)
	}
	return all
}

// flusher is a compressor of either package.
type flusher interface {
	io.Writer
	Flush() error
	Reset(w io.Writer)
}

// BenchmarkCompress compresses a message of 1 KiB of chat JSON that follows some KiB of the same conversation.
func BenchmarkCompress(b *testing.B) {
	const messages = 400
	all := conversation(messages)
	for _, kib := range []int{0, 2, 4, 8, 16, 32} {
		run := func(name string, compress func(dst, payload, dict []byte) []byte) {
			b.Run(fmt.Sprintf("%d KiB/%s", kib, name), func(b *testing.B) {
				dst, i, sum := make([]byte, 0, 4096), kib, 0
				b.ReportAllocs()
				for b.Loop() {
					at := i * benchMessage
					dst = compress(dst[:0], all[at:at+benchMessage], all[at-kib<<10:at])
					sum += len(dst)
					if i++; i == messages {
						i = kib
					}
				}
				b.ReportMetric(float64(sum)/float64(b.N), "B/message")
			})
		}
		var codec Codec
		run("deflate", func(dst, payload, dict []byte) []byte { return codec.Compress(dst, payload, dict, 15) })
		for level := 1; level <= 6; level++ {
			w, err := flate.NewWriter(nil, level)
			if err != nil {
				b.Fatal(err)
			}
			run(fmt.Sprintf("klauspost-%d", level), func(dst, payload, dict []byte) []byte {
				out := bytes.NewBuffer(dst)
				w.ResetDict(out, dict)
				return flushed(b, w, out, payload)
			})
		}
		for _, level := range []int{1, 6} {
			run(fmt.Sprintf("std-%d", level), func(dst, payload, dict []byte) []byte {
				out := bytes.NewBuffer(dst)
				w, err := stdflate.NewWriterDict(out, level, dict) // cannot be reset with another dictionary
				if err != nil {
					b.Fatal(err)
				}
				return flushed(b, w, out, payload)
			})
		}
	}
}

func flushed(b *testing.B, w flusher, out *bytes.Buffer, payload []byte) []byte {
	if _, err := w.Write(payload); err != nil {
		b.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(tail))
}

// BenchmarkDecompress decompresses the messages of BenchmarkCompress.
func BenchmarkDecompress(b *testing.B) {
	const messages = 400
	all := conversation(messages)
	var codec Codec
	for _, kib := range []int{0, 8, 32} {
		var packed [][]byte
		for i := kib; i < messages; i++ {
			at := i * benchMessage
			p := codec.Compress(nil, all[at:at+benchMessage], all[at-kib<<10:at], 15)
			packed = append(packed, append(p, tail+"\x01\x00\x00\xff\xff"...))
		}
		run := func(name string, decompress func(dst, payload, dict []byte) int) {
			b.Run(fmt.Sprintf("%d KiB/%s", kib, name), func(b *testing.B) {
				dst, i := make([]byte, 4096), kib
				b.ReportAllocs()
				for b.Loop() {
					at := i * benchMessage
					if n := decompress(dst, packed[i-kib], all[at-kib<<10:at]); n != benchMessage {
						b.Fatalf("got %d bytes", n)
					}
					if i++; i == messages {
						i = kib
					}
				}
			})
		}
		run("deflate", func(dst, payload, dict []byte) int {
			out, err := codec.Decompress(dst[:0], payload[:len(payload)-9], dict, benchMessage)
			if err != nil {
				b.Fatal(err)
			}
			return len(out)
		})
		for name, r := range map[string]io.ReadCloser{"klauspost": flate.NewReader(nil), "std": stdflate.NewReader(nil)} {
			var src bytes.Reader
			run(name, func(dst, payload, dict []byte) int {
				src.Reset(payload)
				if err := r.(flate.Resetter).Reset(&src, dict); err != nil {
					b.Fatal(err)
				}
				n, err := io.ReadFull(r, dst[:benchMessage])
				if err != nil {
					b.Fatal(err)
				}
				return n
			})
		}
	}
}

// BenchmarkHostile decompresses messages of 1 MiB that take as much time as possible, beside one of chat JSON.
func BenchmarkHostile(b *testing.B) {
	const limit = 16 << 20
	var codec Codec
	messages := emptyBlocks()
	messages["bomb of 16 MiB"] = bomb(b, limit)
	messages["chat JSON of 1 MiB"] = codec.Compress(nil, conversation(1<<10), nil, 15)
	for name, payload := range messages {
		b.Run(name, func(b *testing.B) {
			dst := make([]byte, 0, limit+1024)
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				if _, err := codec.Decompress(dst, payload, nil, limit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWindow appends messages to a Window of 8 KiB.
func BenchmarkWindow(b *testing.B) {
	all := conversation(1)
	var w Window
	b.ReportAllocs()
	for b.Loop() {
		w.Append(all, 8<<10)
	}
}
