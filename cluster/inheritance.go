package cluster

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// inheritanceEnv tells a program that it continues the work of the one that this process ran before, or that it is on
// trial. Its name and format are part of the contract between releases.
const inheritanceEnv = "EXPEDITE_HERITAGE"

const inheritanceFormat = "fd=%d check=%t"

// inheritanceVersion is the version that this program writes, and the only one that it reads. Fields may be added
// without a new version: a program ignores the fields that it does not know.
const inheritanceVersion = 1

// inheritance is what a primary leaves to the program that replaces its own. Descriptors are given by number, and are
// open in the next program.
type inheritance struct {
	Version    int               `json:"version"`
	Generation int               `json:"generation"` // of the primary that wrote it
	NextID     uint64            `json:"next_id"`
	MoveIDs    uint64            `json:"move_ids"`
	Slots      []inheritedSlot   `json:"slots"`
	Workers    []inheritedWorker `json:"workers"`
	Acceptors  []int             `json:"acceptors"` // of the first listener, by slot with None
	Listeners  []inheritedSource `json:"listeners,omitempty"`
	Shared     []inheritedSocket `json:"shared,omitempty"`
	Files      map[string]int    `json:"files,omitempty"` // of the application
	Scheduling *Policy           `json:"scheduling,omitempty"`
	Invocation *invocation       `json:"invocation,omitempty"`
	Rolled     RollTotals        `json:"rolled"`
	Stats      Stats             `json:"stats"`
}

// inheritedSource is a listener. The sockets of the first one are in Acceptors, where early releases expect them.
type inheritedSource struct {
	Name    string `json:"name"`
	Tag     string `json:"tag,omitempty"`
	Number  uint16 `json:"number"`
	PerSlot bool   `json:"per_slot,omitempty"`
	Staged  bool   `json:"staged,omitempty"` // no worker has it
	Sockets []int  `json:"sockets,omitempty"`
}

type inheritedSlot struct {
	Number     int      `json:"number"`
	Generation int      `json:"generation"`
	Env        []string `json:"env,omitempty"`
	Crashes    uint64   `json:"crashes"`
}

type inheritedWorker struct {
	ID         uint64    `json:"id"`
	Slot       int       `json:"slot"`
	Generation int       `json:"generation"`
	PID        int       `json:"pid"`
	State      State     `json:"state"`
	Wanted     bool      `json:"wanted,omitempty"`
	Dismissed  bool      `json:"dismissed,omitempty"`
	Load       int64     `json:"load"`
	Passed     uint64    `json:"passed"`
	Began      time.Time `json:"began"`
	Link       int       `json:"link"`           // negative if the worker has disconnected
	Rest       []byte    `json:"rest,omitempty"` // an incomplete frame that was read from the link
	RestFDs    [][]int   `json:"rest_fds,omitempty"`
	Output     []int     `json:"output,omitempty"` // pipes: standard output, if it has one, and standard error
	Stderr     []byte    `json:"stderr,omitempty"` // the end of its standard error
}

type inheritedSocket struct {
	Key   string   `json:"key"`
	Kind  byte     `json:"kind"`
	FD    int      `json:"fd"`
	Users []uint64 `json:"users,omitempty"`
}

// errInheritance is returned for an inheritance that is malformed.
var errInheritance = errors.New("cluster: bad inheritance")

// encode returns the inheritance followed by the application's state.
func (h *inheritance) encode(app []byte) ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	out := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(b)+len(app)), uint64(len(b)))
	return append(append(out, b...), app...), nil
}

// parseInheritance is the inverse of encode.
func parseInheritance(b []byte) (h *inheritance, app []byte, err error) {
	if len(b) < 8 || binary.LittleEndian.Uint64(b) > uint64(len(b)-8) {
		return nil, nil, fmt.Errorf("%w: truncated", errInheritance)
	}
	end := 8 + int(binary.LittleEndian.Uint64(b))
	h = new(inheritance)
	if err := json.Unmarshal(b[8:end], h); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errInheritance, err)
	}
	if h.Version != inheritanceVersion {
		return nil, nil, fmt.Errorf("%w: version %d; this program reads version %d",
			errInheritance, h.Version, inheritanceVersion)
	}
	slots := make(map[int]bool)
	for _, s := range h.Slots {
		if s.Number < 1 || s.Number > MaxWorkers || slots[s.Number] {
			return nil, nil, fmt.Errorf("%w: slot %d", errInheritance, s.Number)
		}
		slots[s.Number] = true
	}
	for _, w := range h.Workers {
		if !slots[w.Slot] || w.PID <= 0 || w.State > StateDead {
			return nil, nil, fmt.Errorf("%w: worker %d of slot %d", errInheritance, w.ID, w.Slot)
		}
		slots[w.Slot] = false // one worker for each slot
	}
	return h, b[end:], nil
}

// Inheritance is what this process had when it was running another program: see Primary.Exec.
type Inheritance struct {
	// State is the result of ExecOptions.State.
	State []byte
	// Trial is set if the program must only tell whether it could continue with State: by Answer, or else by its exit
	// code.
	Trial bool

	h      *inheritance
	answer *os.File // of a trial; nil if no answer is expected
}

// answerEnv tells a program on trial which descriptor its answer goes to.
const answerEnv = "EXPEDITE_ANSWER"

// Answer sends b from a program on trial to the running one, which receives it with ExecOptions.Answered. If b is not
// empty, it means that the program could continue, whatever its exit code.
func (i *Inheritance) Answer(b []byte) error {
	if i.answer == nil {
		return nil
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("cluster: the answer has %d bytes, the limit is %d", len(b), maxAnswer)
	}
	if _, err := i.answer.WriteAt(b, 0); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// OnTrial reports whether this process was started to find out whether its program could replace that of a primary.
// Call it before Inherit.
func OnTrial() bool { return strings.HasSuffix(os.Getenv(inheritanceEnv), "check=true") }

// HasInheritance reports whether this process was a primary before it ran this program. Call it before Inherit.
func HasInheritance() bool { return strings.HasSuffix(os.Getenv(inheritanceEnv), "check=false") }

// Inherit returns what this process had when it ran another program as a primary; nil if it did not. A program that
// calls Primary.Exec must call Inherit once, before Start. It passes the result to Config.Inherit, or exits if
// Inheritance.Trial is set.
func Inherit() (*Inheritance, error) {
	env := os.Getenv(inheritanceEnv)
	if env == "" {
		return nil, nil
	}
	if err := os.Unsetenv(inheritanceEnv); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := leaveProgram(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	nameProcess()
	var fd int
	i := new(Inheritance)
	if _, err := fmt.Sscanf(env, inheritanceFormat, &fd, &i.Trial); err != nil {
		return nil, fmt.Errorf("%w: %s=%q", errInheritance, inheritanceEnv, env)
	}
	if at, err := strconv.Atoi(os.Getenv(answerEnv)); err == nil && i.Trial {
		i.answer = os.NewFile(uintptr(at), "answer")
	}
	if err := os.Unsetenv(answerEnv); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	b, err := readSealed(fd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInheritance, err)
	}
	i.h, i.State, err = parseInheritance(b)
	if err != nil {
		return nil, err
	}
	if !i.Trial {
		for _, fd := range i.h.descriptors() {
			closeOnExec(fd) // exec could keep them open only without this flag
		}
	}
	return i, nil
}

// descriptors returns all descriptors that the inheritance names.
func (h *inheritance) descriptors() []int {
	list := append([]int(nil), h.Acceptors...)
	for _, l := range h.Listeners {
		list = append(list, l.Sockets...)
	}
	for _, fd := range h.Files {
		list = append(list, fd)
	}
	for _, s := range h.Shared {
		list = append(list, s.FD)
	}
	for _, w := range h.Workers {
		list = append(append(list, w.Link), w.Output...)
		for _, fds := range w.RestFDs {
			list = append(list, fds...)
		}
	}
	return list
}

// Generation returns the number of programs that this process has run as a primary, including this one.
func (i *Inheritance) Generation() int { return i.h.Generation + 1 }

// Listeners returns the names of the listeners that the previous program had, and of those that it has staged. Early
// releases have no names.
func (i *Inheritance) Listeners() (names []string) {
	for _, l := range i.h.Listeners {
		names = append(names, l.Name)
	}
	return names
}

// File returns the file that ExecOptions.Files had under a name, which the caller must close. It returns nil if there
// is none, or if it was returned before. Start closes the files that were not asked for.
func (i *Inheritance) File(name string) *os.File {
	fd, ok := i.h.Files[name]
	if !ok {
		return nil
	}
	delete(i.h.Files, name)
	return os.NewFile(uintptr(fd), name)
}
