package loadtest

import "time"

// Plan is what a crowd of virtual users does: when they arrive, and which steps each of them takes. A script is read
// into one (package internal/artillery does that for artillery's). Every client process loads the script by itself, so
// a Plan need not travel; it is not changed while it runs.
//
// Templates, Extractors and functions of a Plan are called on one goroutine per process, the event loop's: they need no
// locks, and must not block.
type Plan struct {
	// Target is the URL that the script names, for the report. Connect steps have URLs of their own.
	Target string
	// Insecure takes any certificate, of servers on loopback addresses only.
	Insecure bool
	// Timeout bounds a connect and the wait for a reply. 0 is DefaultTimeout.
	Timeout time.Duration
	// Phases follow one another. The run ends when the last is over and all users have finished.
	Phases []Phase
	// Scenarios: each user takes one, by weight.
	Scenarios []Scenario
	// Init sets the variables that a user begins with; nil sets none. User is unique among all processes, counted from
	// 0 in the order of arrival.
	Init func(user int, v *Vars) error
	// Judge is called once, in the parent process, when the run is over: what it returns are the conditions of the
	// script that do not hold, each in words. With any, the command fails. Nil is none.
	Judge func(r *Report) []string
}

// Phase is a time with an even or evenly growing rate of arrivals.
type Phase struct {
	Name     string
	Duration time.Duration
	// Rate and EndRate are users per second at the beginning and at the end: the same for a constant rate, both 0 for a
	// pause.
	Rate, EndRate float64
	// Count is the number of users that arrive, spread evenly over Duration; all at once if that is 0. 0 goes by Rate.
	Count int
	// MaxUsers is how many users may be under way, in all processes: who arrives beyond is skipped and counted. 0 is no
	// limit.
	MaxUsers int
}

// Scenario is what a user does from the first step to the last. Its connection, if one is open, is closed then (1000).
type Scenario struct {
	Name string
	// Weight is its share in relation to the others. 0 is 1; negative is never.
	Weight float64
	Steps  []Step
}

// Step is one of Connect, Send, Think, Loop and Call. A step that fails ends its user, who counts as failed by
// the cause.
type Step interface{ step() }

// Connect opens the user's WebSocket, and closes the one that was open. It is over when the server has answered.
type Connect struct {
	// URL is absolute: ws:// or wss://. The run refuses what is not a loopback address, unless Config.AllowRemote.
	URL          Template
	Header       []HeaderTemplate
	Subprotocols []string
}

// HeaderTemplate is a header field of the opening handshake.
type HeaderTemplate struct {
	Name  string
	Value Template
}

// Send sends a message, and waits for its reply if there is one to wait for.
type Send struct {
	// Payload is the message, rendered anew each time.
	Payload Template
	// Reply is what the next message from the server must be. Nil waits for none.
	Reply *Reply
}

// Reply judges the first message that arrives after a Send. The time until then counts as round trip.
type Reply struct {
	// Timeout is how long it may take. 0 is Plan.Timeout.
	Timeout time.Duration
	// Match must all hold.
	Match []Match
	// Capture is set if they do.
	Capture []Capture
}

// Match wants a part of a message to have a value, both compared as text: 7 is "7".
type Match struct {
	// Name stands in the report if it does not hold: the path, as in the script.
	Name  string
	Part  Extractor
	Value Template
}

// Capture sets a variable to a part of a message.
type Capture struct {
	Name string // of the part, for the report
	Part Extractor
	As   string // the variable
	// Optional lets the part be missing: the variable is left as it was.
	Optional bool
}

// Extractor finds a part of a message, by a path in its JSON or otherwise. The message is valid until it returns.
type Extractor interface {
	Extract(message []byte) (value any, ok bool)
}

// Think waits. Messages that arrive meanwhile are counted.
type Think struct {
	// For is the time; with Func nil.
	For time.Duration
	// Func tells the time anew each time: a random one, or one that a variable has.
	Func func(v *Vars) (time.Duration, error)
}

// Loop repeats steps. In them the variable "$loopCount" counts the turns from From, and "$loopElement" is the present
// element of Over.
type Loop struct {
	From  int
	Count int // turns; 0 is without end, or as Over says
	// Over gives the elements to go over, one per turn; Count does not matter then. Nil is none.
	Over  func(v *Vars) ([]any, error)
	Steps []Step
}

// Call runs a function, which may set variables.
type Call struct{ Func func(v *Vars) }

func (Connect) step() {}
func (Send) step()    {}
func (Think) step()   {}
func (Loop) step()    {}
func (Call) step()    {}

// Template is text with parts that depend on variables.
type Template interface {
	// Append appends the text for a user.
	Append(dst []byte, v *Vars) ([]byte, error)
}

// Text is a Template that is the same for everyone.
type Text string

// Append appends t.
func (t Text) Append(dst []byte, _ *Vars) ([]byte, error) { return append(dst, t...), nil }

var _ Template = Text("")

// Vars are the variables of one virtual user. The zero value has none. It is for the loop's goroutine.
type Vars struct {
	user int
	list []variable // few, so that looking through is quicker than a table, and smaller
}

type variable struct {
	name  string
	value any
}

// User is the number of the virtual user, unique among all processes.
func (v *Vars) User() int { return v.user }

// Get is the value of a variable, and whether it is set.
func (v *Vars) Get(name string) (any, bool) {
	for i := range v.list {
		if v.list[i].name == name {
			return v.list[i].value, true
		}
	}
	return nil, false
}

// Set sets a variable. The value is kept as it is: whoever changes it later changes the variable.
func (v *Vars) Set(name string, value any) {
	for i := range v.list {
		if v.list[i].name == name {
			v.list[i].value = value
			return
		}
	}
	v.list = append(v.list, variable{name, value})
}
