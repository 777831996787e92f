package deflate

import "sync"

// Codec compresses and decompresses messages. Connections share it, and it stores nothing about them: it has one
// compressor or decompressor for each call under way, and unused ones until the garbage collector frees them. The zero
// value is ready for use. A Codec is safe for concurrent use and must not be copied.
type Codec struct {
	compressors [maxBits - minBits + 1]sync.Pool // of *compressor, by window, the largest first
	inflaters   sync.Pool                        // of *inflater
}
