package redisplane

import (
	"sync"
	"unsafe"

	"github.com/expedite-go/expedite/backplane"
)

const (
	// feedMessages is the number of messages from which on they are passed on although more can be read at once.
	feedMessages = 4096
	// keptMessages is the largest number of messages that a list of a feed has room for when it is not used.
	keptMessages = 2 * feedMessages
)

// feed collects what the connections of a shard receive, in order, and passes it to the Receiver. It holds no more than
// what is in the connections' buffers: each passes it on before it reads again. Thus a slow Receiver stops the reading.
type feed struct {
	calls sync.Mutex // held while the Receiver is called; before mu
	to    backplane.Receiver

	mu                    sync.Mutex
	closed                bool
	messages, spare       []backplane.Message
	turns                 []turn
	received, interrupted uint64
}

// turn is a call of Listening or Missing after some messages.
type turn struct {
	after  int // the number of messages before it
	topics []string
	err    error // nil for Listening
}

// message adds a message. The payload must be of its own, as the Receiver gets it without a copy.
func (f *feed) message(topic, payload string, at backplane.Position) {
	f.mu.Lock()
	f.received++
	bytes := unsafe.Slice(unsafe.StringData(payload), len(payload))
	f.messages = append(f.messages, backplane.Message{Topic: topic, Payload: bytes, At: at})
	full := len(f.messages) >= feedMessages
	f.mu.Unlock()
	if full {
		f.flush()
	}
}

// listening adds a topic that has a subscription.
func (f *feed) listening(topic string) { f.turn([]string{topic}, nil) }

// missing adds topics whose subscription is lost.
func (f *feed) missing(topics []string, err error) {
	if len(topics) > 0 {
		f.turn(topics, err)
	}
}

// turn adds a call, or adds topics to the latest one.
func (f *feed) turn(topics []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k := len(f.turns) - 1; k >= 0 && f.turns[k].after == len(f.messages) && f.turns[k].err == err {
		f.turns[k].topics = append(f.turns[k].topics, topics...)
		return
	}
	f.turns = append(f.turns, turn{len(f.messages), topics, err})
}

// flush passes on what has been added, and blocks until the Receiver has returned.
func (f *feed) flush() {
	f.mu.Lock()
	empty := len(f.messages) == 0 && len(f.turns) == 0
	f.mu.Unlock()
	if empty {
		return
	}
	f.calls.Lock()
	defer f.calls.Unlock()
	f.mu.Lock()
	messages, turns, closed := f.messages, f.turns, f.closed
	f.messages, f.spare, f.turns = f.spare, nil, nil
	f.mu.Unlock()
	if !closed {
		f.pass(messages, turns)
	}
	clear(messages)
	if cap(messages) > keptMessages {
		messages = nil
	}
	f.mu.Lock()
	f.spare = messages[:0]
	f.mu.Unlock()
}

// pass calls the Receiver.
func (f *feed) pass(messages []backplane.Message, turns []turn) {
	done := 0
	for _, one := range turns {
		if one.after > done {
			f.to.Receive(messages[done:one.after:one.after])
			done = one.after
		}
		if one.err == nil {
			f.to.Listening(one.topics)
			continue
		}
		f.mu.Lock()
		f.interrupted++
		f.mu.Unlock()
		f.to.Missing(one.topics, one.err)
	}
	if done < len(messages) {
		f.to.Receive(messages[done:])
	}
}

// close drops what follows.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
}
