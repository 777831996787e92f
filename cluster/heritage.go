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

// heritageEnv tells a program that it goes on with the work of another one in the same process, or is asked whether it
// could.
const heritageEnv = "EXPEDITE_HERITAGE"

const heritageFormat = "fd=%d check=%t"

// heritageVersion is that of the heritage this program writes, and the only one that it reads. Fields may be added to
// it without a new version: a program ignores those that it does not know.
const heritageVersion = 1

// heritage is what a primary leaves to the program that replaces it. Descriptors are by number, and open.
type heritage struct {
	Version    int              `json:"version"`
	Generation int              `json:"generation"` // of the primary that wrote it
	NextID     uint64           `json:"next_id"`
	MoveIDs    uint64           `json:"move_ids"`
	Slots      []slotHeritage   `json:"slots"`
	Workers    []workerHeritage `json:"workers"`
	Acceptors  []int            `json:"acceptors"`
	Shared     []sharedHeritage `json:"shared,omitempty"`
	Files      map[string]int   `json:"files,omitempty"` // of the application
	Scheduling *Policy          `json:"scheduling,omitempty"`
	Invocation *invocation      `json:"invocation,omitempty"`
	Rolled     Rolled           `json:"rolled"`
	Stats      Stats            `json:"stats"`
}

type slotHeritage struct {
	Number     int      `json:"number"`
	Generation int      `json:"generation"`
	Env        []string `json:"env,omitempty"`
	Crashes    uint64   `json:"crashes"`
}

type workerHeritage struct {
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
	Link       int       `json:"link"`
	Rest       []byte    `json:"rest,omitempty"` // read from the link and not a frame yet
	RestFDs    [][]int   `json:"rest_fds,omitempty"`
	Output     []int     `json:"output,omitempty"` // pipes: standard output, if it has one, and standard error
	Stderr     []byte    `json:"stderr,omitempty"` // the end of it
}

type sharedHeritage struct {
	Key   string   `json:"key"`
	Kind  byte     `json:"kind"`
	FD    int      `json:"fd"`
	Users []uint64 `json:"users,omitempty"`
}

// errHeritage says that what was left makes no sense.
var errHeritage = errors.New("cluster: bad heritage")

// encode is the heritage with the application's part behind it.
func (h *heritage) encode(app []byte) ([]byte, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	out := binary.LittleEndian.AppendUint64(make([]byte, 0, 8+len(b)+len(app)), uint64(len(b)))
	return append(append(out, b...), app...), nil
}

// parseHeritage is the reverse of encode.
func parseHeritage(b []byte) (h *heritage, app []byte, err error) {
	if len(b) < 8 || binary.LittleEndian.Uint64(b) > uint64(len(b)-8) {
		return nil, nil, fmt.Errorf("%w: cut off", errHeritage)
	}
	end := 8 + int(binary.LittleEndian.Uint64(b))
	h = new(heritage)
	if err := json.Unmarshal(b[8:end], h); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errHeritage, err)
	}
	if h.Version != heritageVersion {
		return nil, nil, fmt.Errorf("%w: version %d, this program knows %d", errHeritage, h.Version, heritageVersion)
	}
	slots := make(map[int]bool)
	for _, s := range h.Slots {
		if s.Number < 1 || s.Number > MaxWorkers || slots[s.Number] {
			return nil, nil, fmt.Errorf("%w: slot %d", errHeritage, s.Number)
		}
		slots[s.Number] = true
	}
	for _, w := range h.Workers {
		if !slots[w.Slot] || w.PID <= 0 || w.State > StateDead {
			return nil, nil, fmt.Errorf("%w: worker %d of slot %d", errHeritage, w.ID, w.Slot)
		}
		slots[w.Slot] = false // one each
	}
	return h, b[end:], nil
}

// Inheritance is what this process had when it ran another program: see Primary.Exec.
type Inheritance struct {
	// State is what ExecOptions.State gave.
	State []byte
	// Check says that this is a trial: the program only has to say, by its exit code, whether it could go on with
	// State.
	Check bool

	h      *heritage
	answer *os.File // of a trial; nil if nobody waits for one
}

// answerEnv tells a program on trial where its answer goes.
const answerEnv = "EXPEDITE_ANSWER"

// Answer tells the program that runs, in a trial, what it has to know before this one takes its place: see
// ExecOptions.Answered.
func (i *Inheritance) Answer(b []byte) error {
	if i.answer == nil {
		return nil
	}
	if len(b) > maxAnswer {
		return fmt.Errorf("cluster: an answer of %d bytes, the limit is %d", len(b), maxAnswer)
	}
	if _, err := i.answer.WriteAt(b, 0); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// OnTrial reports whether this process was started to say whether it could take the place of another program, and
// Succeeds whether it has taken it. Before Inherit.
func OnTrial() bool { return strings.HasSuffix(os.Getenv(heritageEnv), "check=true") }

// Succeeds reports whether this process was a primary before it ran this program. Before Inherit.
func Succeeds() bool { return strings.HasSuffix(os.Getenv(heritageEnv), "check=false") }

// Inherit tells whether this process was a primary before it ran this program, and what is left of that; nil if not. A
// program that replaces primaries calls it once, before Start, and gives the result to Config.Inherit, or ends if it is
// for a trial.
func Inherit() (*Inheritance, error) {
	env := os.Getenv(heritageEnv)
	if env == "" {
		return nil, nil
	}
	if err := os.Unsetenv(heritageEnv); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if err := leaveProgram(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	nameProcess()
	var fd int
	i := new(Inheritance)
	if _, err := fmt.Sscanf(env, heritageFormat, &fd, &i.Check); err != nil {
		return nil, fmt.Errorf("%w: %s=%q", errHeritage, heritageEnv, env)
	}
	if at, err := strconv.Atoi(os.Getenv(answerEnv)); err == nil && i.Check {
		i.answer = os.NewFile(uintptr(at), "answer")
	}
	if err := os.Unsetenv(answerEnv); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	b, err := readSealed(fd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHeritage, err)
	}
	i.h, i.State, err = parseHeritage(b)
	if err != nil {
		return nil, err
	}
	if !i.Check {
		i.h.adopt()
	}
	return i, nil
}

// adopt makes all descriptors close-on-exec again.
func (h *heritage) adopt() {
	for _, fd := range h.descriptors() {
		closeOnExec(fd)
	}
}

// descriptors are all that the heritage names.
func (h *heritage) descriptors() []int {
	list := append([]int(nil), h.Acceptors...)
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

// Generation is the number of programs that this process has run as a primary, this one included.
func (i *Inheritance) Generation() int { return i.h.Generation + 1 }

// File is what ExecOptions.Files had by a name, the caller's from here on; nil if there is none, or the second time.
// Start closes what nobody has asked for.
func (i *Inheritance) File(name string) *os.File {
	fd, ok := i.h.Files[name]
	if !ok {
		return nil
	}
	delete(i.h.Files, name)
	return os.NewFile(uintptr(fd), name)
}
