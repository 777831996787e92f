package loadtest

import "time"

// Plan describes virtual users: when they arrive, and which steps each of them takes. Package internal/artillery
// compiles scripts to plans. Every client process loads the script itself, so a Plan is never sent between processes. A
// Plan must not be changed while it runs.
//
// Templates, Extractors and functions of a Plan are called on one goroutine per process, that of the event loop. They
// need no locks and must not block.
type Plan struct {
	// Target is the URL that the script names, for the report. Connect steps have URLs of their own.
	Target string
	// Insecure disables the verification of certificates, for servers on loopback addresses only.
	Insecure bool
	// Timeout limits a connect and the wait for a reply. 0 means DefaultTimeout.
	Timeout time.Duration
	// Phases run one after the other. The run ends when the last phase is over and all users have finished.
	Phases []Phase
	// Scenarios are what users do. Each user takes one, chosen at random by weight.
	Scenarios []Scenario
	// Init sets a user's initial variables. The user number is unique over all processes and counts arrivals from 0.
	// Init may be nil.
	Init func(user int, v *Vars) error
	// Judge is called once, in the parent process, at the end of the run. It returns a description of each condition of
	// the script that does not hold; if it returns any, the command fails. Judge may be nil.
	Judge func(r *Report) []string
}

// Phase is a period with a constant or linearly changing rate of arrivals.
type Phase struct {
	Name     string
	Duration time.Duration
	// Rate and EndRate are the users per second at the beginning and the end of the phase. They are equal for a
	// constant rate, and both 0 for a pause.
	Rate, EndRate float64
	// Count is the number of users that arrive, spread evenly over Duration, or all at once if Duration is 0. If Count
	// is 0, Rate applies.
	Count int
	// MaxUsers limits the users that are active at the same time, over all processes. Users that arrive beyond the
	// limit are skipped and counted. 0 means no limit.
	MaxUsers int
}

// Scenario is the list of steps of a user. At its end, the user's connection is closed (1000) if it is still open.
type Scenario struct {
	Name string
	// Weight is the probability of the scenario relative to the others. 0 means 1; a negative weight means never.
	Weight float64
	Steps  []Step
}

// Step is one of Connect, Send, Think, Loop and Call. A step that fails ends its user, and the user's failure is
// counted by its cause.
type Step interface{ step() }

// Connect opens the user's WebSocket. If one is open, it is closed first. The step ends when the server has answered.
type Connect struct {
	// URL is an absolute ws:// or wss:// URL. Hosts other than loopback addresses are refused unless Config.AllowRemote
	// is set.
	URL          Template
	Header       []HeaderTemplate
	Subprotocols []string
}

// HeaderTemplate is a field of the opening handshake.
type HeaderTemplate struct {
	Name  string
	Value Template
}

// Send sends a text message. If Reply is set, the step ends when the reply has arrived.
type Send struct {
	// Payload is rendered for each message.
	Payload Template
	// Reply describes the next message from the server. Nil waits for none.
	Reply *Reply
}

// Reply checks the first message that arrives after a Send. The time until then is the round-trip time.
type Reply struct {
	// Timeout limits the wait. 0 means Plan.Timeout.
	Timeout time.Duration
	// Match holds conditions, all of which have to be met.
	Match []Match
	// Capture sets variables if all conditions are met.
	Capture []Capture
}

// Match requires a part of a message to equal a value. Both are compared as text: 7 equals "7".
type Match struct {
	// Name is the path in the script. The report shows it if the condition is not met.
	Name  string
	Part  Extractor
	Value Template
}

// Capture stores a part of a message in a variable.
type Capture struct {
	Name string // the path in the script, for the report
	Part Extractor
	As   string // the variable
	// Optional means that a missing part is no failure; the variable keeps its value.
	Optional bool
}

// Extractor finds a part of a message, for example by a JSON path. The message is valid until Extract returns.
type Extractor interface {
	Extract(message []byte) (value any, ok bool)
}

// Think waits. Messages that arrive meanwhile are counted.
type Think struct {
	// For is how long to wait if Func is nil.
	For time.Duration
	// Func returns how long to wait, for example at random. It is called each time.
	Func func(v *Vars) (time.Duration, error)
}

// Loop repeats steps. The variable "$loopCount" is the number of the iteration, counted from From, and "$loopElement"
// is the current element of Over.
type Loop struct {
	From  int
	Count int // iterations; 0 means forever. Over replaces it
	// Over returns the elements to iterate over. Nil means that Count applies.
	Over  func(v *Vars) ([]any, error)
	Steps []Step
}

// Call calls a function, which may set variables.
type Call struct{ Func func(v *Vars) }

func (Connect) step() {}
func (Send) step()    {}
func (Think) step()   {}
func (Loop) step()    {}
func (Call) step()    {}

// Template is text that depends on variables.
type Template interface {
	// Append appends the text for a user to dst.
	Append(dst []byte, v *Vars) ([]byte, error)
}

// Text is a Template without variables.
type Text string

// Append appends t to dst.
func (t Text) Append(dst []byte, _ *Vars) ([]byte, error) { return append(dst, t...), nil }

var _ Template = Text("")

// Vars holds the variables of one virtual user. The zero value is empty. Vars may be used on the goroutine of the event
// loop only.
type Vars struct {
	user int
	list []variable // short, so that a search takes less time and memory than a map
}

type variable struct {
	name  string
	value any
}

// User returns the number of the virtual user, which is unique over all processes.
func (v *Vars) User() int { return v.user }

// Get returns the value of a variable, and whether it is set.
func (v *Vars) Get(name string) (any, bool) {
	for i := range v.list {
		if v.list[i].name == name {
			return v.list[i].value, true
		}
	}
	return nil, false
}

// Set sets a variable. The value is not copied.
func (v *Vars) Set(name string, value any) {
	for i := range v.list {
		if v.list[i].name == name {
			v.list[i].value = value
			return
		}
	}
	v.list = append(v.list, variable{name, value})
}
