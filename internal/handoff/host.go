package handoff

// Batch is connections that are frozen between two events, on their way out.
type Batch interface {
	// Len is the number of connections.
	Len() int
	// IDs calls f with the id of each connection that can be sent to.
	IDs(f func(id uint64))
}

// BatchData is what a batch is on its way.
type BatchData struct {
	States   []byte // opaque here
	FDs      []int
	Position uint64 // number of the last publication that these connections have had
}

// Arrivals are connections that have been admitted and are not read yet.
type Arrivals interface {
	// Len is the number of connections.
	Len() int
	// IDs calls f with the id of each connection that can be sent to.
	IDs(f func(id uint64))
}

// Host is a worker whose connections move. All methods are called on its loop.
type Host interface {
	// Post runs f on the loop. It reports false when the loop has ended. Any goroutine.
	Post(f func()) bool
	// Position is the number of the last publication that this worker has had.
	Position() uint64
	// Load is the number of connections that would move if all did.
	Load() int
	// FreeFDs is the number of descriptors that this process may still open.
	FreeFDs() int

	// Depart stops accepting, if all is to move, and gets ready to freeze. End.Resume must be called when a connection
	// that had to wait for a callback is ready.
	Depart(all bool)
	// Freeze takes up to n connections off the loop. left says of an empty batch how many will be ready later.
	Freeze(n int) (b Batch, c BatchData, left int)
	// Release forgets a batch that has a new owner.
	Release(Batch)
	// Thaw puts a batch back on the loop.
	Thaw(Batch)
	// Stay ends what Depart has begun. What has not moved goes on here; staying is the number of connections that could
	// not be moved.
	Stay() (staying int)
	// Fence calls done when all that this worker's connections have said so far has been passed on.
	Fence(done func())
	// Sync calls done when this worker has had all publications that there were when it was called.
	Sync(done func())

	// Record gets ready for arrivals: from now on publications are kept for them.
	Record()
	// Admit takes all connections of a cargo, or none with an error. It owns the descriptors in any case. They must
	// not be read before Start, which is called in the same turn of the loop.
	Admit(c BatchData) (Arrivals, error)
	// Start makes them live.
	Start(Arrivals)
	// StopRecording ends what Expect has begun.
	StopRecording()

	// Deliver brings a message to a connection. What is not here goes on to where it is.
	Deliver(m []byte)
}
