package backplane

import (
	"errors"
	"time"
)

// Errors of a History besides those of Publish.
var (
	// ErrUnavailable means not now: no server answers, or it cannot do its work. Nothing was changed that the caller
	// relies on; ask again later.
	ErrUnavailable = errors.New("backplane: not available")
	// ErrRefused means never: the server will not take this message, or will not answer this question.
	ErrRefused = errors.New("backplane: refused")
)

// MaxNumber is the largest number of a Key.
const MaxNumber = 1<<53 - 1

// History is what a Backplane may implement in addition: it keeps the latest messages of topics, and gives each a
// position. Package redisplane does. Its methods neither block nor call done before they return. Calls of done come
// from goroutines of the Backplane; those that belong to one topic and one method do not overlap. They should return
// soon.
//
// An appended message takes the way of a published one, and arrives with its position, in the order of positions, on
// all machines that have subscribed to the topic. What is missed or arrives again is as with Publish: the positions
// show it.
type History interface {
	// Append queues a message like Publish, which is kept and gets a position. The key makes it idempotent: a message
	// whose Number is not larger than that of another one of the same Publisher and topic that was taken is not taken
	// again. It returns ErrOverloaded, ErrTooLarge or ErrClosed. If it returns nil, done is called once, unless Close
	// is called before, and for the messages of one topic in their order: with the position, or with ErrRefused.
	// An outage delays the message, however long. If a message was taken before, its Offset is 0 unless it is the
	// latest one of its Publisher.
	Append(topic string, one Append, done func(at Position, err error)) error
	// Read asks for the messages of a topic. It returns ErrOverloaded, ErrTooLarge or ErrClosed. If it returns nil,
	// done is called once, unless Close is called before: with a page that was true at some time in between, or with
	// ErrUnavailable or ErrRefused. A topic without messages has an epoch, too, which it keeps.
	Read(topic string, what Range, done func(Page, error)) error
	// Renew begins a new epoch of a topic, unless its epoch is not the given one any more. Offsets and messages stay.
	// The caller has seen that positions of the epoch mean something else than they did. done gets the epoch, Begin
	// and Head of now; errors are those of Read.
	Renew(topic string, epoch uint64, done func(Page, error)) error
}

// Position is the position of a message in the history of its topic. Offsets grow by 1 with each message. The epoch
// changes when messages may have been lost; it is random, and not 0. The zero Position is none.
type Position struct{ Epoch, Offset uint64 }

// Append is a message for a history.
type Append struct {
	Key     Key
	Keep    Retention
	Payload []byte // may be reused when Append returns
}

// Key tells appended messages apart. A publisher's numbers grow, on each topic, and begin with 1 or more. Of each
// topic, the numbers of at least the 200 publishers are known that have used it last.
type Key struct {
	Publisher uint64 // unique among all that ever use the topic, for example random
	Number    uint64 // up to MaxNumber
}

// Retention is how much of a topic is kept: up to a number of messages, not older than a time. Both are positive, and
// the same for all that use the topic. Positions are known for longer than that: for a day after the latest message at
// least, unless the server loses them.
type Retention struct {
	Messages int
	For      time.Duration
}

// Range is a part of a history.
type Range struct {
	// After is the offset before the first message. If Newest is not 0, the Newest latest messages are meant instead.
	After  uint64
	Newest int
	// Messages and Bytes limit the page; 0 is no limit. If there is a message, there is one in the page, however
	// large.
	Messages, Bytes int
	// Keep is the retention of the topic. What it does not cover is not in the page.
	Keep Retention
}

// Page is a part of a history, without holes.
type Page struct {
	// Epoch is that of the topic now, Begin the offset of the latest message when it began, and Head that of the
	// latest message now; 0 is none.
	Epoch, Begin, Head uint64
	// Entries are the messages, in order. They belong to the caller.
	Entries []Entry
}

// Entry is a message of a history.
type Entry struct {
	Offset  uint64
	Payload []byte
}
