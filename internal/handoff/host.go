package handoff

// Batch is a group of connections that were frozen between two events and are about to leave.
type Batch interface {
	// Len returns the number of connections.
	Len() int
	// IDs calls f with the id of each connection that messages can be sent to.
	IDs(f func(id uint64))
	// Split takes the connections at these places, in ascending order, out of the batch, and returns them as another one.
	Split(places []int) Batch
}

// Refusal is what the other worker says of connections that it has not taken out of a batch.
type Refusal struct {
	Places []int  // in the batch, in ascending order
	Reason string // of the first one
}

// BatchData is what is sent of a batch.
type BatchData struct {
	States   []byte // opaque
	FDs      []int
	Position uint64 // number of the last publication that these connections have received
	Spare    int    // how many of them Admit may refuse without the others
}

// Arrivals are connections that were admitted and that are not being read yet.
type Arrivals interface {
	// Len returns the number of connections.
	Len() int
	// IDs calls f with the id of each connection that messages can be sent to.
	IDs(f func(id uint64))
	// Refused returns the connections of the batch that were not admitted: their states cannot be read.
	Refused() Refusal
}

// Host is a worker whose connections move. All methods are called on its loop.
type Host interface {
	// Post runs f on the loop. It reports false if the loop has ended. It is safe for concurrent use.
	Post(f func()) bool
	// Position returns the number of the last publication that this worker has received.
	Position() uint64
	// Load returns the number of connections that would move if all did.
	Load() int
	// FreeFDs returns the number of descriptors that this process can still open.
	FreeFDs() int

	// Depart prepares for Freeze. If all connections are to move, it also stops accepting. End.Resume must be called
	// when a connection becomes ready that had to wait for a callback.
	Depart(all bool)
	// Freeze takes up to n connections off the loop. If the batch is empty, left is the number of connections that will
	// be ready later.
	Freeze(n int) (b Batch, d BatchData, left int)
	// Release drops a batch that has a new owner.
	Release(Batch)
	// Thaw puts a batch back on the loop.
	Thaw(Batch)
	// Keep is Thaw for connections that the other worker has refused. Until Stay, they are not frozen again.
	Keep(b Batch, reason string)
	// Stay ends what Depart began: connections that have not moved continue here. It returns the number of connections
	// that could not be moved.
	Stay() (staying int)
	// Fence calls done when everything that the connections of this worker have sent so far has been passed on.
	Fence(done func())
	// Sync calls done when this worker has received all publications that existed when Sync was called.
	Sync(done func())

	// Record prepares for arrivals: from now on publications are kept for them.
	Record()
	// Admit accepts all connections of a batch but BatchData.Spare, or none and returns an error. It takes over the
	// descriptors in any case, and closes those that it refuses. Nothing may be read from them before Start, which is
	// called in the same turn of the loop.
	Admit(d BatchData) (Arrivals, error)
	// Start makes the connections live.
	Start(Arrivals)
	// StopRecording ends what Record began.
	StopRecording()

	// Deliver delivers a message to a connection. If the connection is elsewhere, it passes the message on.
	Deliver(m []byte)
}
