package backplane

// Divided is what a Backplane over several servers may implement in addition, if each of them may fail alone. Each has
// a part of the topics. Presence then goes on for the topics of the servers that work.
type Divided interface {
	// Parts returns the number of parts. It is at least 1 and does not change.
	Parts() int
	// Part returns the part that has a topic: 0 to Parts() - 1. It does not change. All machines have the same topics in
	// a part, but may number the parts differently. Part does not block, and may be called before Start.
	Part(topic string) int
}
