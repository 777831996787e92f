// Package chatjson generates JSON like that of a chat: the data with which tests and benchmarks measure compression.
package chatjson

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generator makes messages of a few users in a few rooms. The same seed makes the same messages. A Generator is not
// safe for concurrent use.
type Generator struct {
	rng   *rand.Rand
	words *rand.Zipf
	list  []string
	users []user
	clock int64
}

type user struct{ id, name, avatar string }

// New returns a Generator.
func New(seed uint64) *Generator {
	g := &Generator{rng: rand.New(rand.NewPCG(seed, 1)), list: strings.Fields(vocabulary), clock: 1_764_400_000_000}
	g.words = rand.NewZipf(g.rng, 1.02, 9, uint64(len(g.list)-1))
	names := strings.Fields(names)
	for range 300 {
		g.users = append(g.users, user{
			id:     fmt.Sprintf("u_%08x", g.rng.Uint32()),
			name:   names[g.rng.IntN(len(names))] + " " + names[g.rng.IntN(len(names))],
			avatar: fmt.Sprintf("https://cdn.example.com/avatars/%016x.png", g.rng.Uint64()),
		})
	}
	return g
}

// Append appends a message of exactly n bytes to dst, or of the smallest size that a message can have.
func (g *Generator) Append(dst []byte, n int) []byte {
	start := len(dst)
	author := g.user()
	g.clock += int64(g.rng.IntN(60_000))
	dst = fmt.Appendf(dst, `{"type":"message","id":%q,"room":"room-%d","user":{"id":%q,"name":%q,"avatar":%q},`,
		g.id(), g.rng.IntN(5), author.id, author.name, author.avatar)
	dst = fmt.Appendf(dst, `"sent_at":%d,"edited":%t,"pinned":false,`, g.clock, g.rng.IntN(8) == 0)
	if g.rng.IntN(3) == 0 {
		dst = fmt.Appendf(dst, `"reply_to":%q,`, g.id())
	}
	dst = append(dst, `"mentions":[`...)
	for i := range g.rng.IntN(3) {
		u := g.user()
		dst = fmt.Appendf(comma(dst, i), `{"id":%q,"name":%q}`, u.id, u.name)
	}
	dst = append(dst, `],"reactions":[`...)
	for i := range g.rng.IntN(4) {
		dst = fmt.Appendf(comma(dst, i), `{"emoji":%q,"count":%d,"own":%t}`, reactions[g.rng.IntN(len(reactions))],
			1+g.rng.IntN(9), g.rng.IntN(4) == 0)
	}
	dst = append(dst, `],"attachments":[`...)
	for i := range g.rng.IntN(3) {
		url := fmt.Sprintf("https://cdn.example.com/files/%012x", g.rng.Uint64()>>16)
		dst = fmt.Appendf(comma(dst, i), `{"type":"image","url":"%s.jpg","preview":"%s_small.jpg"}`, url, url)
	}
	dst = append(dst, `],"text":"`...)
	return append(g.text(dst, n-(len(dst)-start)-2), `"}`...)
}

// text appends words that are n bytes long together.
func (g *Generator) text(dst []byte, n int) []byte {
	end, sentence := len(dst)+n, 0
	for len(dst) < end {
		word := g.list[g.words.Uint64()]
		if sentence == 0 {
			word = strings.ToUpper(word[:1]) + word[1:]
			sentence = 4 + g.rng.IntN(14)
		}
		if sentence--; sentence == 0 {
			word += []string{".", ".", ".", "!", "?", " :)"}[g.rng.IntN(6)]
		}
		dst = append(append(dst, word...), ' ')
	}
	return dst[:max(end, end-n)]
}

func (g *Generator) user() user { return g.users[g.rng.IntN(len(g.users))] }

// id returns an identifier like a ULID: the time, then 80 random bits.
func (g *Generator) id() string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	var id [26]byte
	for i, t := 9, g.clock; i >= 0; i, t = i-1, t>>5 {
		id[i] = digits[t&31]
	}
	for i := 10; i < len(id); i++ {
		id[i] = digits[g.rng.IntN(len(digits))]
	}
	return string(id[:])
}

func comma(dst []byte, i int) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return dst
}
