package broker_test

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/broker"
	"github.com/expedite-go/expedite/internal/broker/brokertest"
)

// shelf is a History that keeps everything on topics that begin with "kept".
type shelf struct {
	topics map[string][]broker.Kept
	late   bool // places and answers come later: from the test
	asked  []broker.Query
}

func newShelf() *shelf { return &shelf{topics: make(map[string][]broker.Kept)} }

func (s *shelf) Keeps(topic []byte) bool { return bytes.HasPrefix(topic, []byte("kept")) }

func (s *shelf) Append(topic []byte, m broker.Kept) (broker.Place, bool) {
	if s.late {
		return broker.Place{}, false
	}
	m.Payload = bytes.Clone(m.Payload)
	s.topics[string(topic)] = append(s.topics[string(topic)], m)
	return broker.Place{Epoch: 5, Offset: uint64(len(s.topics[string(topic)]))}, true
}

func (s *shelf) Read(q broker.Query) (broker.Page, bool) {
	s.asked = append(s.asked, q)
	return s.page(q), !s.late
}

func (s *shelf) page(q broker.Query) broker.Page {
	list, from := s.topics[q.Topic], q.After.Offset
	if q.After.Epoch == 0 {
		from = uint64(max(0, len(list)-int(q.Last)))
	} else if q.After.Epoch != 5 || from > uint64(len(list)) {
		return broker.Page{After: broker.Place{Epoch: 5, Offset: uint64(len(list))}, Lost: true}
	}
	p := broker.Page{After: broker.Place{Epoch: 5, Offset: from}}
	list = list[from:]
	size := 0
	for len(list) > 0 && (len(p.Messages) == 0 || size+len(list[0].Payload) <= int(q.Bytes)) {
		size += len(list[0].Payload)
		p.Messages, list = append(p.Messages, list[0]), list[1:]
	}
	p.More = len(list) > 0
	return p
}

// TestHistoryConformance: all ways of connecting workers bring pages in their place among the publications.
func TestHistoryConformance(t *testing.T) {
	for name, direct := range map[string]bool{"queues both ways": false, "in one process": true} {
		t.Run(name, func(t *testing.T) {
			brokertest.RunHistory(t, func(t *testing.T, workers int, deliver brokertest.Deliver) brokertest.Cluster {
				hub := broker.NewHub(func(conn uint64) int { return int(conn >> 32) })
				hub.Keep(newShelf())
				return newClusterOf(t, hub, workers, deliver, direct)
			})
		})
	}
}

// pastWorker records publications with their places, and pages.
type pastWorker struct {
	*worker
	places []broker.Place
	excep  []uint64
	pages  []broker.Page
}

func newPastWorker(t *testing.T, hub *broker.Hub, slot int) *pastWorker {
	w := &pastWorker{worker: newWorker(hub, slot)}
	w.local = broker.NewLocal(w.up, func(e broker.Envelope) bool {
		switch e.Kind {
		case broker.Publish:
			w.got = append(w.got, string(e.Payload))
			w.places = append(w.places, e.At)
			w.excep = append(w.excep, e.Conn)
		case broker.Past:
			p, err := broker.ParsePage(&e)
			must(t, err)
			for i := range p.Messages {
				p.Messages[i].Payload = bytes.Clone(p.Messages[i].Payload)
			}
			w.pages = append(w.pages, p)
		}
		return true
	})
	return w
}

// TestPlaces: publications on kept topics have places, those on others have none.
func TestPlaces(t *testing.T) {
	hub, others := joined()
	hub.Keep(newShelf())
	w := newPastWorker(t, hub, 1)
	must(t, w.local.Publish("kept", 1, []byte("a")))
	must(t, w.local.Publish("other", 1, []byte("b")))
	must(t, w.local.Publish("kept", 1|broker.Plain, []byte("c")))
	must(t, hub.Publish("kept.2", 1, []byte("d")))
	w.read()
	w.read()
	hub.Heard("kept", 1, []byte("e"), 0) // delivered before it has a place
	hub.Placed("kept", broker.Kept{Opcode: 1, Except: 9, Payload: []byte("f")}, broker.Place{Epoch: 6, Offset: 4})
	w.read()
	if got := strings.Join(w.got, ""); got != "abcdef" && got != "dabcef" {
		t.Errorf("got %q, want abcdef, or d first", got)
	}
	want := map[string]broker.Place{
		"a": {Epoch: 5, Offset: 1}, "c": {Epoch: 5, Offset: 2}, "d": {Epoch: 5, Offset: 1}, "f": {Epoch: 6, Offset: 4},
	}
	for i, name := range w.got {
		if w.places[i] != want[name] {
			t.Errorf("%s: got %+v, want %+v", name, w.places[i], want[name])
		}
	}
	if got := w.excep[len(w.excep)-1]; got != 9 {
		t.Errorf("got all except %d, want 9", got)
	}
	others.want(t, "publications", "other 1 b")
	if got := hub.Stats().Published; got != 6 {
		t.Errorf("got %d published, want 6", got)
	}
}

// TestRecall: a worker gets the pages that it asks for, and only that worker.
func TestRecall(t *testing.T) {
	hub, kept := broker.NewHub(firstSlot), newShelf()
	hub.Keep(kept)
	w, other := newPastWorker(t, hub, 1), newPastWorker(t, hub, 2)
	for _, s := range []string{"aa", "bb", "cc"} {
		must(t, hub.Publish("kept", 1, []byte(s)))
	}
	for _, c := range []struct {
		rule string
		q    broker.Query
		want broker.Page
		text string
	}{
		{
			"all after a place", broker.Query{After: broker.Place{Epoch: 5, Offset: 1}, Bytes: 100, Token: 7},
			broker.Page{Token: 7, After: broker.Place{Epoch: 5, Offset: 1}}, "bb cc",
		},
		{
			"as much as fits", broker.Query{After: broker.Place{Epoch: 5}, Bytes: 5},
			broker.Page{After: broker.Place{Epoch: 5}, More: true}, "aa bb",
		},
		{
			"one at least", broker.Query{After: broker.Place{Epoch: 5}},
			broker.Page{After: broker.Place{Epoch: 5}, More: true}, "aa",
		},
		{
			"the newest", broker.Query{Last: 1, Bytes: 100},
			broker.Page{After: broker.Place{Epoch: 5, Offset: 2}}, "cc",
		},
		{"the place only", broker.Query{Bytes: 100}, broker.Page{After: broker.Place{Epoch: 5, Offset: 3}}, ""},
		{
			"another epoch", broker.Query{After: broker.Place{Epoch: 4, Offset: 1}},
			broker.Page{After: broker.Place{Epoch: 5, Offset: 3}, Lost: true}, "",
		},
	} {
		c.q.Topic, c.want.Topic = "kept", "kept"
		w.pages = nil
		must(t, w.local.Recall(c.q))
		w.read()
		w.read()
		other.read()
		var text []string
		for i := range w.pages {
			for _, m := range w.pages[i].Messages {
				text = append(text, string(m.Payload))
			}
			w.pages[i].Messages = nil
		}
		if got := strings.Join(text, " "); !reflect.DeepEqual(w.pages, []broker.Page{c.want}) || got != c.text {
			t.Errorf("%s: got %+v with %q, want %+v with %q", c.rule, w.pages, got, c.want, c.text)
		}
	}
	if len(other.pages) > 0 {
		t.Errorf("another worker: got %d pages, want none", len(other.pages))
	}
	if err := w.local.Recall(broker.Query{}); !errors.Is(err, broker.ErrTopic) {
		t.Errorf("no topic: got %v, want ErrTopic", err)
	}
	must(t, w.local.Recall(broker.Query{Topic: "other"}))
	w.read()
	if got := hub.Stats().Malformed[1]; got != 1 || len(kept.asked) != 6 {
		t.Errorf("a topic that is not kept: got %d malformed, %d queries, want 1, 6", got, len(kept.asked))
	}
}

// TestAnswerLater: a history may answer later, also when the worker has ended.
func TestAnswerLater(t *testing.T) {
	hub, kept := broker.NewHub(firstSlot), newShelf()
	hub.Keep(kept)
	w := newPastWorker(t, hub, 1)
	kept.late = true
	must(t, w.local.Publish("kept", 1, []byte("a")))
	must(t, w.local.Recall(broker.Query{Topic: "kept", Token: 3, Last: 1, Bytes: 10}))
	w.read()
	w.read()
	if len(w.got)+len(w.pages) > 0 {
		t.Fatalf("got %q and %d pages, want nothing yet", w.got, len(w.pages))
	}
	m := broker.Kept{Opcode: 1, Payload: []byte("a")}
	kept.topics["kept"] = []broker.Kept{m}
	hub.Placed("kept", m, broker.Place{Epoch: 5, Offset: 1})
	hub.Answer(kept.asked[0], kept.page(kept.asked[0]))
	w.read()
	if !slices.Equal(w.got, []string{"a"}) || len(w.pages) != 1 || w.pages[0].Token != 3 || len(w.pages[0].Messages) != 1 {
		t.Errorf("got %q and %+v, want a, and a page with it", w.got, w.pages)
	}
	w.port.Detach()
	hub.Answer(kept.asked[0], kept.page(kept.asked[0]))
	w.read()
	if len(w.pages) != 1 {
		t.Errorf("got %d pages after the end, want 1", len(w.pages))
	}
}

// TestNobodyPlaces: workers cannot set places, nor answer.
func TestNobodyPlaces(t *testing.T) {
	hub := broker.NewHub(firstSlot)
	hub.Keep(newShelf())
	w := newPastWorker(t, hub, 1)
	b := broker.AppendEnvelope(nil, broker.Envelope{Kind: broker.Publish, Topic: "kept", At: broker.Place{Epoch: 5}})
	b = broker.AppendPage(b, &broker.Page{Topic: "kept", After: broker.Place{Epoch: 5}})
	b = broker.AppendEnvelope(b, broker.Envelope{Kind: broker.Recall, Topic: "kept", Payload: make([]byte, 15)})
	w.port.Receive(b)
	if got := hub.Stats().Malformed[1]; got != 3 {
		t.Errorf("got %d malformed, want 3", got)
	}
}

func pages() []broker.Page {
	return []broker.Page{
		{Topic: "t", After: broker.Place{Epoch: 1}},
		{Topic: "t", Token: 3, After: broker.Place{Epoch: 1, Offset: 9}, Lost: true},
		{Topic: "t", After: broker.Place{Epoch: 1 << 63, Offset: 9}, More: true, Messages: []broker.Kept{
			{Opcode: 1 | broker.Plain, Except: 8, Payload: []byte("hello")}, {Opcode: 2, Payload: []byte{}},
		}},
	}
}

// TestPageForm: the encoding is a contract between versions that run at the same time.
func TestPageForm(t *testing.T) {
	got := broker.AppendPage([]byte("before"), &broker.Page{
		Token: 6, Topic: "top", After: broker.Place{Epoch: 9, Offset: 5}, More: true,
		Messages: []broker.Kept{{Opcode: 0x82, Except: 7, Payload: []byte("pay")}},
	})
	want := "before" + "\x33\x00\x00\x00" + "\x0d\x00\x00\x00" + "\x01\x00" + "\x03\x00" +
		"\x05\x00\x00\x00\x00\x00\x00\x00" + "\x06\x00\x00\x00\x00\x00\x00\x00" + "top" +
		"\x09\x00\x00\x00\x00\x00\x00\x00" + "\x03\x00\x00\x00" + "\x82" + "\x07\x00\x00\x00\x00\x00\x00\x00" + "pay"
	if string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	placed := broker.AppendEnvelope(nil, broker.Envelope{
		Kind: broker.Publish, Opcode: 2, Seq: 5, Topic: "top", Payload: []byte("pay"), At: broker.Place{Epoch: 9, Offset: 8},
	})
	want = "\x2e\x00\x00\x00" + "\x01\x02\x04\x00" + "\x00\x00" + "\x03\x00" + "\x05\x00\x00\x00\x00\x00\x00\x00" +
		strings.Repeat("\x00", 8) + "top" + "\x09\x00\x00\x00\x00\x00\x00\x00" + "\x08\x00\x00\x00\x00\x00\x00\x00" + "pay"
	if string(placed) != want {
		t.Errorf("got  %q\nwant %q", placed, want)
	}
}

// FuzzParsePage: parsing never panics, and a page has only one encoding.
func FuzzParsePage(f *testing.F) {
	for _, p := range pages() {
		f.Add(broker.AppendPage(nil, &p))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, n, err := broker.ParseEnvelope(b)
		if err != nil {
			return
		}
		p, err := broker.ParsePage(&e)
		if err != nil {
			if !errors.Is(err, broker.ErrEnvelope) {
				t.Fatalf("got %v, want ErrEnvelope", err)
			}
			return
		}
		if end := p.End(); end.Offset < p.After.Offset || end.Epoch == 0 {
			t.Fatalf("got the end %+v of a page after %+v", end, p.After)
		}
		e.Payload, e.Opcode = nil, 0
		if got := broker.AppendPage(nil, &p); !bytes.Equal(got[12:], b[12:n]) {
			t.Fatalf("got  %x\nwant %x", got, b[:n])
		}
	})
}

// TestPages: pages arrive as they were sent.
func TestPages(t *testing.T) {
	for _, want := range pages() {
		e, _, err := broker.ParseEnvelope(broker.AppendPage(nil, &want))
		must(t, err)
		if got, err := broker.ParsePage(&e); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for rule, p := range map[string]broker.Page{
		"no epoch":                {Topic: "t"},
		"lost with more":          {Topic: "t", After: broker.Place{Epoch: 1}, Lost: true, More: true},
		"more of nothing":         {Topic: "t", After: broker.Place{Epoch: 1}, More: true},
		"offsets beyond the last": {Topic: "t", After: broker.Place{Epoch: 1, Offset: 1<<64 - 1}, Messages: []broker.Kept{{}}},
	} {
		e, _, err := broker.ParseEnvelope(broker.AppendPage(nil, &p))
		must(t, err)
		if _, err := broker.ParsePage(&e); !errors.Is(err, broker.ErrEnvelope) {
			t.Errorf("%s: got %v, want ErrEnvelope", rule, err)
		}
	}
}
