package conformance

// Level is how strongly a rule binds a server.
type Level uint8

// The levels.
const (
	Must   Level = iota
	Should       // also what an RFC allows but this project promises, such as failing at the first invalid byte
)

// String returns the keyword of RFC 2119.
func (l Level) String() string {
	if l == Must {
		return "MUST"
	}
	return "SHOULD"
}

// Feature is what a server must have for a case to apply.
type Feature string

// The features.
const (
	Deflate      Feature = "deflate"      // permessage-deflate is on, with and without context takeover
	Subprotocols Feature = "subprotocols" // the endpoint speaks SubprotocolA and SubprotocolB
	HTTP         Feature = "http"         // other paths answer as Requests does
	Large        Feature = "large"        // messages up to LargestMessage, in any number of fragments
	Limited      Feature = "limited"      // a message beyond LargestMessage is refused
	Proxied      Feature = "proxied"      // 127.0.0.0/8 are proxies and name the client, which Question asks for
	Direct       Feature = "direct"       // no peer is a proxy, and Question asks for the client
)

// The subprotocols of a server with the feature Subprotocols.
const (
	SubprotocolA = "a.example"
	SubprotocolB = "b.example"
)

// LargestMessage is the length of the longest message that a server with the feature Large takes.
const LargestMessage = 16 << 20

// Rule is one requirement.
type Rule struct {
	ID      string // unique
	Section string // such as "RFC 6455 §5.5"
	Level   Level
	Text    string // the requirement in one sentence
	Cases   []Case
	// Unseen is why a rule has no cases: what no client can observe.
	Unseen string
}

// Case is bytes that a client sends and what the server must do.
type Case struct {
	Name  string // unique in its rule
	Needs []Feature
	// Request is everything up to the end of the last request. {path} is replaced by the endpoint, {host} by the host. If
	// it is empty, it is a correct handshake with the fields in Fields.
	Request string
	Fields  string // each ends in CRLF
	// Answers are the expected responses, in order. If it is empty, one response opens the WebSocket.
	Answers []Answer
	After   After

	// Send is what follows when the WebSocket is open, and Want what the server must send. Script replaces both if they
	// depend on the extension that was agreed.
	Send   []byte
	Want   []Event
	Script func(a Agreed) (send []byte, want []Event)

	// Peer is what a server does to a client. It replaces all other fields but Name: see RunClients.
	Peer *Peer
}

// After is what must happen when all answers have arrived and none of them has opened a WebSocket.
type After uint8

const (
	// EndsOrStays allows both, but no further response.
	EndsOrStays After = iota
	// Ends means that the server closes the connection.
	Ends
	// Stays means that the server answers the next request.
	Stays
)

// Answer is a response that a rule allows.
type Answer struct {
	Status []int // one of these; empty is any from 400 to 599
	// Check returns an error if the response breaks the rule. It may be nil.
	Check func(r *Response) error
	// MayEnd allows the end of the connection instead of this response.
	MayEnd bool
	// Head tells that the request is a HEAD: its response has no content.
	Head bool
}

// Kind is the kind of an Event.
type Kind uint8

// The kinds of events.
const (
	Text Kind = iota
	Binary
	Ping
	Pong
	Close
)

// String returns the name of the kind.
func (k Kind) String() string { return [...]string{"text", "binary", "ping", "pong", "close"}[k] }

// Event is a message or a control frame of the server.
type Event struct {
	Kind Kind
	Data []byte // payload; for Close the reason, which is not compared
	// Codes are the allowed close codes; 1005 is a close frame without one. What is received has one code.
	Codes []int
	// Compressed tells whether the server compressed the message. It is not compared.
	Compressed bool
}

// Rules returns all rules of the server.
func Rules() []Rule {
	var all []Rule
	for _, group := range [][]Rule{
		requestRules(), fieldRules(), nameRules(), handshakeRules(), versionRules(), answerRules(), headRules(), bodyRules(),
		forwardedRules(), lengthRules(), framingRules(), maskRules(),
		fragmentRules(),
		controlRules(), closeRules(), codeRules(), textRules(), sizeRules(), negotiationRules(), compressionRules(),
		misuseRules(),
		windowRules(), unseenRules(),
	} {
		all = append(all, group...)
	}
	return all
}
