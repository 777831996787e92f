package primary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/control"
	"github.com/expedite-go/expedite/internal/registry"
	"github.com/expedite-go/expedite/internal/relay"
)

// What machines ask each other. Machines may be of different releases: a number never changes its meaning.
const (
	subjectStatus      relay.Subject = 1 // nothing → control.NodeStatus
	subjectSubscribers relay.Subject = 2 // a topic → the number of its subscribers
	subjectLive        relay.Subject = 3 // registry.LiveRequest → livePage
)

// machinesTick is how often it is examined whether messages pass between machines. planeDown is the number of ticks in
// a row after which they do not.
const (
	machinesTick = time.Second
	planeDown    = 3
)

// introduce tells other machines of this one, answers their questions, and notes whether they can be reached, until
// Close.
func (s *ControlServer) introduce() {
	s.registry.OnSubscribers(s.Subscribers)
	if s.relay == nil {
		return
	}
	s.relay.Introduce(relay.Self{About: s.about, Answer: s.answer})
	s.tasks.Go(s.watchMachines)
}

// watchMachines tells the registry whether other machines can be reached.
func (s *ControlServer) watchMachines() {
	tick := time.NewTicker(machinesTick)
	defer tick.Stop()
	for down := 0; ; {
		select {
		case <-tick.C:
		case <-s.closed:
			return
		}
		err := s.relay.Stats().Backplane.Err
		if down++; err == nil {
			down = 0
		}
		if down == 0 || down >= planeDown {
			s.registry.NotePlane(err)
		}
	}
}

// node returns what this machine tells of itself, without asking its workers.
func (s *ControlServer) node() control.NodeStatus {
	st := control.Status{
		Version: s.cfg.Version, PID: os.Getpid(), UptimeSeconds: time.Since(s.began).Seconds(),
	}
	if list := s.serving.Load(); list != nil {
		st.Listeners = *list
	}
	for _, r := range s.workers.LastReports() {
		addWorker(&st, r, 0)
	}
	n := st.Node()
	n.Status = nil
	return s.named(n)
}

// named adds what a status does not tell.
func (s *ControlServer) named(n control.NodeStatus) control.NodeStatus {
	n.Node = fmt.Sprintf("%016x", s.registry.Node())
	n.Host, _ = os.Hostname()
	n.Started = s.began.Truncate(time.Second)
	return n
}

// about returns what the directory has of this machine.
func (s *ControlServer) about() []byte {
	n := s.node()
	b, err := json.Marshal(n)
	if err != nil || len(b) > backplane.MaxAbout { // it has very many addresses
		n.Addresses = nil
		b, _ = json.Marshal(n)
	}
	return b
}

// answer answers a question of another machine.
func (s *ControlServer) answer(ctx context.Context, q relay.Question) ([]byte, error) {
	switch q.Subject {
	case subjectStatus:
		st, err := s.Status(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(s.named(st.Node()))
	case subjectSubscribers:
		n, err := s.registry.Subscribers(ctx, string(q.Data))
		if err != nil {
			return nil, err
		}
		return json.Marshal(n)
	case subjectLive:
		return s.answerLive(ctx, q.Data)
	default:
		return nil, errSubject
	}
}

var errSubject = errors.New("the machine is of an earlier release, which does not know the question")

// askAll asks all other machines, and passes each answer to take. missing lists those that returned an error or
// nothing.
func (s *ControlServer) askAll(
	ctx context.Context, q relay.Question, take func(node uint64, b []byte) error,
) (missing []control.NodeStatus, err error) {
	if s.relay == nil {
		return nil, nil
	}
	got, err := s.relay.Ask(ctx, q)
	known := make(map[string]control.NodeStatus, len(got.Machines))
	for _, m := range got.Machines {
		n := control.NodeStatus{Node: m.Name}
		_ = json.Unmarshal(m.About, &n) // one of a later release may say something else
		n.Node, n.Status = m.Name, nil
		known[m.Name] = n
	}
	miss := func(name, why string) {
		n, ok := known[name]
		if !ok {
			n.Node = name
		}
		n.Missing = why
		missing = append(missing, n)
	}
	for _, m := range got.Missing {
		miss(m.Name, "it has not answered")
	}
	for _, a := range got.Answers {
		if a.Err == nil {
			a.Err = take(a.Node, a.Data)
		}
		if a.Err != nil {
			miss(fmt.Sprintf("%016x", a.Node), a.Err.Error())
		}
	}
	return missing, err
}

// names names machines for people: why each is missing.
func names(missing []control.NodeStatus) (list []string) {
	for _, n := range missing {
		list = append(list, fmt.Sprintf("%s (%s): %s", cmp.Or(n.Host, "a machine"), n.Node, n.Missing))
	}
	return list
}

// Subscribers counts the connections that are subscribed to a topic, on all machines.
func (s *ControlServer) Subscribers(ctx context.Context, topic string) (sum registry.Subscribers, err error) {
	type result struct {
		n   int
		err error
	}
	own := make(chan result, 1)
	go func() { // ends with its limit of time
		n, err := s.registry.Subscribers(ctx, topic)
		own <- result{n, err}
	}()
	others := 0
	missing, err := s.askAll(ctx, relay.Question{Subject: subjectSubscribers, Data: []byte(topic)},
		func(_ uint64, b []byte) error {
			var n int
			err := json.Unmarshal(b, &n)
			others += n
			return err
		})
	here := <-own
	switch {
	case here.err != nil:
		return sum, here.err
	case errors.Is(err, relay.ErrBusy):
		sum.Busy = true
		return sum, nil
	}
	sum.Count, sum.Missing = here.n+others, names(missing)
	if err != nil {
		sum.Cause = err.Error()
	}
	return sum, nil
}

// Nodes returns what is known of all machines: this one first, then by host and name.
func (s *ControlServer) Nodes(ctx context.Context) (list control.NodeList, err error) {
	st, err := s.Status(ctx)
	if err != nil {
		return list, err
	}
	own := s.named(st.Node())
	others := []control.NodeStatus{}
	missing, err := s.askAll(ctx, relay.Question{Subject: subjectStatus}, func(_ uint64, b []byte) error {
		var n control.NodeStatus
		err := json.Unmarshal(b, &n)
		if err == nil {
			others = append(others, n)
		}
		return err
	})
	others = append(others, missing...)
	slices.SortFunc(others, func(a, b control.NodeStatus) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Node, b.Node))
	})
	list.Nodes = append([]control.NodeStatus{own}, others...)
	if err != nil {
		list.Cause = err.Error()
	}
	return list, nil
}
