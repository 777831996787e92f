package presence

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// store is what a backplane.Presence promises, in memory, for several machines. It is divided by the last byte of topics.
type store struct {
	parts    int
	mu       sync.Mutex
	last     uint64
	leases   map[lease]time.Time
	topics   map[string]*storeTopic
	machines []*door
}

// lease is an attendance in a part.
type lease struct {
	part int
	id   uint64
}

// storeTopic is a topic of a store: attendances by member.
type storeTopic struct {
	backplane.Standing
	max  int
	who  map[string]map[uint64]bool
	info map[string]string
}

func newStore() *store { return newStores(1) }

func newStores(parts int) *store {
	return &store{parts: parts, leases: make(map[lease]time.Time), topics: make(map[string]*storeTopic)}
}

func (s *store) Parts() int { return s.parts }

func (s *store) Part(topic string) int { return int(topic[len(topic)-1]) % s.parts }

// door is the store as a machine sees it.
type door struct {
	*store
	down bool // the machine cannot reach the store
	away int  // the machine cannot reach this part, counted from 1
	deaf bool // the machine hears no announcements
	// torn makes changes fail that were made.
	torn bool
	hear func(topic string, payload []byte)
	// bridged is what a bridge has heard for the next program.
	bridged []backplane.Message
}

func (s *store) door() *door {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &door{store: s}
	s.machines = append(s.machines, d)
	return d
}

// set changes the state of a door.
func (d *door) set(f func(d *door)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

// lose makes the store forget everything.
func (s *store) lose() {
	for part := range s.parts {
		s.losePart(part)
	}
}

// losePart makes a part forget everything.
func (s *store) losePart(part int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.leases, func(l lease, _ time.Time) bool { return l.part == part })
	maps.DeleteFunc(s.topics, func(topic string, _ *storeTopic) bool { return s.Part(topic) == part })
}

func (s *store) number() uint64 {
	s.last++
	return s.last
}

func (d *door) enter(part int) error {
	d.mu.Lock()
	if d.down || d.away == part+1 {
		return backplane.ErrUnavailable
	}
	return nil
}

func (d *door) Attend(_ context.Context, part int, lives time.Duration) (uint64, error) {
	defer d.mu.Unlock()
	if err := d.enter(part); err != nil {
		return 0, err
	}
	id := d.number()
	d.leases[lease{part, id}] = time.Now().Add(lives)
	return id, nil
}

func (d *door) Extend(_ context.Context, part int, id uint64, lives time.Duration) error {
	defer d.mu.Unlock()
	if err := d.enter(part); err != nil {
		return err
	}
	if ends, ok := d.leases[lease{part, id}]; !ok || !ends.After(time.Now()) {
		return backplane.ErrLapsed
	}
	d.leases[lease{part, id}] = time.Now().Add(lives)
	return nil
}

func (d *door) Change(_ context.Context, id uint64, topic string, c backplane.Change) (backplane.Standing, error) {
	defer d.mu.Unlock()
	if err := d.enter(d.Part(topic)); err != nil {
		return backplane.Standing{}, err
	}
	t := d.topics[topic]
	if t == nil {
		t = &storeTopic{who: make(map[string]map[uint64]bool), info: make(map[string]string)}
		t.Epoch = d.number()
		d.topics[topic] = t
	}
	t.max = c.Max
	lost := t.Epoch != c.Knows.Epoch
	only := lost && c.Knows.Epoch != 0
	add := func(m backplane.Member, told bool) {
		if t.who[m.ID] == nil {
			t.who[m.ID], t.info[m.ID] = make(map[uint64]bool), m.Info
			if t.Count++; told {
				d.announce(topic, true, m)
			}
		}
		t.who[m.ID][id] = true
	}
	for _, m := range c.Restore {
		add(m, !lost)
	}
	for _, m := range c.Keep {
		if lost {
			add(m, false)
		}
	}
	if !only {
		for _, m := range c.Add {
			add(m, true)
		}
		for _, who := range c.Remove {
			d.leave(topic, who, id)
		}
	}
	if d.torn {
		return backplane.Standing{}, backplane.ErrUnavailable
	}
	return t.Standing, nil
}

// leave removes a member of an attendance.
func (s *store) leave(topic, who string, id uint64) {
	t := s.topics[topic]
	if !t.who[who][id] {
		return
	}
	if delete(t.who[who], id); len(t.who[who]) == 0 {
		delete(t.who, who)
		t.Count--
		s.announce(topic, false, backplane.Member{ID: who})
	}
}

// announce tells all machines of a change.
func (s *store) announce(topic string, joined bool, m backplane.Member) {
	t := s.topics[topic]
	if t.Count > t.max && (!joined || t.Count > t.max+1) {
		return
	}
	t.Announced++
	payload := backplane.Announcement{Standing: t.Standing, Joined: joined, Member: m}.Append(nil)
	for _, d := range s.machines {
		if !d.deaf && d.hear != nil {
			d.hear(topic, payload)
		}
	}
}

func (d *door) Members(_ context.Context, topic string, most int) (m backplane.Members, err error) {
	defer d.mu.Unlock()
	if err := d.enter(d.Part(topic)); err != nil {
		return m, err
	}
	t := d.topics[topic]
	if t == nil {
		return m, nil
	}
	if m.Count = t.Count; t.Count > most {
		return m, nil
	}
	for who := range t.who {
		m.List = append(m.List, backplane.Member{ID: who, Info: t.info[who]})
	}
	return m, nil
}

func (d *door) Retire(_ context.Context, part int, id uint64) error {
	defer d.mu.Unlock()
	if err := d.enter(part); err != nil {
		return err
	}
	d.retire(part, id)
	return nil
}

func (s *store) retire(part int, id uint64) {
	for topic, t := range s.topics {
		if s.Part(topic) != part {
			continue
		}
		for _, who := range slices.Sorted(maps.Keys(t.who)) {
			s.leave(topic, who, id)
		}
	}
	delete(s.leases, lease{part, id})
}

func (d *door) Reap(_ context.Context, part int) (n int, err error) {
	defer d.mu.Unlock()
	if err := d.enter(part); err != nil {
		return 0, err
	}
	for l, ends := range d.leases {
		if l.part == part && !ends.After(time.Now()) {
			d.retire(part, l.id)
			n++
		}
	}
	return n, nil
}

var (
	_ backplane.Presence = (*door)(nil)
	_ backplane.Divided  = (*door)(nil)
)
