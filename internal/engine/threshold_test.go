package engine

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/chatjson"
	"github.com/expedite-go/expedite/ws/deflate"
)

// BenchmarkThreshold shows from which length compression pays: the bytes that remain, and the time for that.
func BenchmarkThreshold(b *testing.B) {
	const history = 8 << 10
	g := chatjson.New(3)
	var codec deflate.Codec
	for _, linked := range []bool{false, true} {
		for _, size := range []int{32, 64, 96, 128, 192, 256, 512, 1024} {
			var texts [][]byte
			for range 64 {
				texts = append(texts, small(g, size))
			}
			var before []byte
			for linked && len(before) < history {
				before = append(before, small(g, size)...)
			}
			b.Run(fmt.Sprintf("linked=%v/size=%d", linked, size), func(b *testing.B) {
				var out []byte
				sum, i := 0, 0
				for b.Loop() {
					out = codec.Compress(out[:0], texts[i%len(texts)], before, 15)
					sum += len(out)
					i++
				}
				b.ReportMetric(float64(sum)/float64(i), "B/message")
			})
		}
	}
}

// small returns a JSON message of about size bytes with words of a chat.
func small(g *chatjson.Generator, size int) []byte {
	text := g.Append(nil, 2<<10)
	text = text[len(text)-1100 : len(text)-2] // words
	head := `{"type":"chat","text":"`
	return append([]byte(head), append(text[:max(0, size-len(head)-2)], `"}`...)...)
}
