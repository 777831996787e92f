package relay

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/expedite-go/expedite/backplane"
	"github.com/expedite-go/expedite/internal/connid"
)

const (
	// askLimit is how long machines have to answer a question.
	askLimit = 2 * time.Second
	// maxAsks is the number of questions of this machine at once, and maxReplies that of other machines that it answers.
	maxAsks, maxReplies = 64, 32
	// MaxAnswer is the size of an answer in bytes, and maxAnswers that of all answers to a question.
	MaxAnswer, maxAnswers = 1 << 20, 12 << 20
	// maxAnswering is the number of machines whose answers to a question are kept.
	maxAnswering = 4096
)

// Subject is what a question is about. Machines may be of different releases: a number never changes its meaning.
type Subject byte

// Question is a question of another machine.
type Question struct {
	Subject Subject
	Data    []byte
}

// Answer is that of a machine.
type Answer struct {
	Node uint64
	Data []byte
	Err  error // why it has none; its text is that of the machine
}

// Replies are the answers to a question.
type Replies struct {
	// Answers are in the order of nodes; without this machine.
	Answers []Answer
	// Machines are all that are known but this one. Nil: the backplane knows none.
	Machines []backplane.Machine
	// Missing are those of them that have not answered.
	Missing []backplane.Machine
}

// Errors of Ask.
var (
	// ErrBusy reports that too many questions are asked at once.
	ErrBusy = errors.New("expedite: too many questions to other machines at once")
	// ErrDirectory reports that it is not known which machines there are. There may be answers all the same.
	ErrDirectory = errors.New("expedite: it is not known which other machines there are")
)

// answerState is how a machine answers.
type answerState = byte

const (
	answered answerState = iota // with data
	failed                      // with an error
)

// question is one of this machine that is being answered.
type question struct {
	answers []Answer
	size    int
	changed chan struct{} // receives when there is one more
}

// Ask asks all other machines, and blocks until all that are known have answered, but no longer than two seconds. The
// error is ErrBusy, or ErrDirectory, or that of the backplane.
func (r *Relay) Ask(ctx context.Context, q Question) (got Replies, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	asked, id, err := r.pose(q)
	if err != nil {
		return got, err
	}
	defer r.withdraw(id)
	got.Machines, err = r.others(ctx)
	for err != nil || !asked.complete(r, got.Machines) {
		select {
		case <-asked.changed:
			continue
		case <-ctx.Done():
		case <-r.done:
		}
		break
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	got.Answers = slices.Clone(asked.answers)
	slices.SortFunc(got.Answers, func(a, b Answer) int { return cmp.Compare(a.Node, b.Node) })
	for _, m := range got.Machines {
		if !asked.has(m.Name) {
			got.Missing = append(got.Missing, m)
		}
	}
	r.stats.Unanswered += uint64(len(got.Missing))
	return got, err
}

// pose sends a question.
func (r *Relay) pose(q Question) (asked *question, id uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.asked) >= maxAsks {
		r.stats.QuestionsRefused++
		return nil, 0, ErrBusy
	}
	r.lastAsk++
	id = r.lastAsk
	m := message{kind: asks, node: r.Node, seq: id, opcode: byte(q.Subject), data: q.Data}
	if err := r.outAll(m.append(nil)); err != nil {
		return nil, 0, fmt.Errorf("expedite: other machines cannot be asked: %w", err)
	}
	asked = &question{changed: make(chan struct{}, 1)}
	r.asked[id] = asked
	r.stats.Asked++
	return asked, id, nil
}

// withdraw ends a question: later answers are ignored.
func (r *Relay) withdraw(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.asked, id)
}

// others returns the other machines that are known, and ErrDirectory if there may be more.
func (r *Relay) others(ctx context.Context) ([]backplane.Machine, error) {
	d, ok := r.Backplane.(backplane.Directory)
	if !ok {
		return nil, nil
	}
	list, err := d.Machines(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDirectory, err)
	}
	all := len(list)
	list = slices.DeleteFunc(list, func(m backplane.Machine) bool { return m.Name == nodeName(r.Node) })
	if list == nil {
		list = []backplane.Machine{}
	}
	if len(list) == all && r.isAnnounced() {
		r.announceNow()
		return list, fmt.Errorf("%w: the directory has lost its memory", ErrDirectory)
	}
	return list, nil
}

// nodeName returns the name of a machine.
func nodeName(node uint64) string { return fmt.Sprintf("%016x", node) }

// complete reports whether all machines that are known have answered. If none are known, nobody knows.
func (q *question) complete(r *Relay, machines []backplane.Machine) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return machines != nil && !slices.ContainsFunc(machines, func(m backplane.Machine) bool { return !q.has(m.Name) })
}

// has reports whether a machine has answered.
func (q *question) has(name string) bool {
	return slices.ContainsFunc(q.answers, func(a Answer) bool { return nodeName(a.Node) == name })
}

// hearAnswer takes an answer to a question of this machine. One that comes again, or too late, is ignored.
func (r *Relay) hearAnswer(m *message) {
	if m.stream != r.Node { // of another machine with the same number
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.asked[m.seq]
	if q == nil || q.has(nodeName(m.node)) {
		return
	}
	if q.size += len(m.data); q.size > maxAnswers || len(q.answers) >= maxAnswering {
		r.stats.QuestionsRefused++
		return
	}
	a := Answer{Node: m.node, Data: bytes.Clone(m.data)}
	if m.opcode != answered {
		a.Data, a.Err = nil, errors.New(string(m.data))
	}
	q.answers = append(q.answers, a)
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// hearQuestion answers a question of another machine, on a goroutine of its own. The answer takes the way by which the
// question has come first.
func (r *Relay) hearQuestion(topic string, m *message) {
	to := asker{m.node, m.seq}
	way := beside(r.Backplane, machineTopic(connid.MachineOf(to.node)), topic)
	self := r.self.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		return
	default:
	}
	switch {
	case r.questions.heard(to):
		return
	case self == nil || self.Answer == nil:
		r.reply(way, to, nil, errStarting)
		return
	case r.replying >= maxReplies:
		r.stats.QuestionsRefused++
		r.reply(way, to, nil, ErrBusy)
		return
	}
	r.replying++
	q := Question{Subject: Subject(m.opcode), Data: bytes.Clone(m.data)}
	r.task.Go(func() { // ends with askLimit
		ctx, cancel := context.WithTimeout(context.Background(), askLimit)
		defer cancel()
		data, err := self.Answer(ctx, q)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.replying--
		r.reply(way, to, data, err)
	})
}

var (
	errStarting = errors.New("the machine is starting")
	errAnswer   = errors.New("the answer is too large")
)

// reply sends an answer.
func (r *Relay) reply(way string, to asker, data []byte, err error) {
	if err == nil && len(data) > MaxAnswer {
		err = errAnswer
	}
	m := message{kind: answers, node: r.Node, stream: to.node, seq: to.id, opcode: answered, data: data}
	if err != nil {
		m.opcode, m.data = failed, []byte(err.Error())
	}
	if r.out(way, m.append(nil)) != nil {
		r.stats.QuestionsRefused++ // the other machine misses it
		return
	}
	r.stats.Answered++
}
