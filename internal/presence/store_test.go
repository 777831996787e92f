package presence

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/expedite-go/expedite/backplane"
)

// store is what a backplane.Presence promises, in memory, for several machines.
type store struct {
	mu       sync.Mutex
	last     uint64
	leases   map[uint64]time.Time
	topics   map[string]*storeTopic
	machines []*door
}

// storeTopic is a topic of a store: attendances by member.
type storeTopic struct {
	backplane.Standing
	max  int
	who  map[string]map[uint64]bool
	info map[string]string
}

func newStore() *store {
	return &store{leases: make(map[uint64]time.Time), topics: make(map[string]*storeTopic)}
}

// door is the store as a machine sees it.
type door struct {
	*store
	down bool // the machine cannot reach the store
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
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.leases)
	clear(s.topics)
}

func (s *store) number() uint64 {
	s.last++
	return s.last
}

func (d *door) enter() error {
	d.mu.Lock()
	if d.down {
		return backplane.ErrUnavailable
	}
	return nil
}

func (d *door) Attend(_ context.Context, lease time.Duration) (uint64, error) {
	defer d.mu.Unlock()
	if err := d.enter(); err != nil {
		return 0, err
	}
	id := d.number()
	d.leases[id] = time.Now().Add(lease)
	return id, nil
}

func (d *door) Extend(_ context.Context, id uint64, lease time.Duration) error {
	defer d.mu.Unlock()
	if err := d.enter(); err != nil {
		return err
	}
	if ends, ok := d.leases[id]; !ok || !ends.After(time.Now()) {
		return backplane.ErrLapsed
	}
	d.leases[id] = time.Now().Add(lease)
	return nil
}

func (d *door) Change(_ context.Context, id uint64, topic string, c backplane.Change) (backplane.Standing, error) {
	defer d.mu.Unlock()
	if err := d.enter(); err != nil {
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
	if err := d.enter(); err != nil {
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

func (d *door) Retire(_ context.Context, id uint64) error {
	defer d.mu.Unlock()
	if err := d.enter(); err != nil {
		return err
	}
	d.retire(id)
	return nil
}

func (s *store) retire(id uint64) {
	for topic, t := range s.topics {
		for _, who := range slices.Sorted(maps.Keys(t.who)) {
			s.leave(topic, who, id)
		}
	}
	delete(s.leases, id)
}

func (d *door) Reap(context.Context) (n int, err error) {
	defer d.mu.Unlock()
	if err := d.enter(); err != nil {
		return 0, err
	}
	for id, ends := range d.leases {
		if !ends.After(time.Now()) {
			d.retire(id)
			n++
		}
	}
	return n, nil
}

var _ backplane.Presence = (*door)(nil)
