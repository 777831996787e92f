package deflate

import "sync"

// Codec compresses and decompresses messages. Connections share it, and it stores nothing about them: it has one
// compressor or decompressor for each call under way, and unused ones until the garbage collector frees them. The zero
// value is ready for use. A Codec is safe for concurrent use and must not be copied.
//
// A compressor has 0.9 to 1.2 MiB, an inflater 12 KiB and at most 64 KiB of input.
type Codec struct {
	alone, dictionary sync.Pool                    // of *compressor, for messages that fit in their window
	windows           [maxBits - minBits]sync.Pool // of *compressor, for larger ones; the window of 14 bits is the first
	inflaters         sync.Pool                    // of *inflater
}
