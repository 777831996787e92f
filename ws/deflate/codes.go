package deflate

// codes makes the decoding tables of blocks.
type codes struct {
	builder
	literals    [literals]uint32 // entries of the symbols, without their codes
	distances   [distances]uint32
	lengths     [19]uint32                  // of the code for code lengths
	lengthTable [lengthSize]uint32          // of the code for code lengths
	sizes       [literals + distances]uint8 // lengths of codes
}

// fill computes the entries. RFC 1951 §3.2.5.
func (c *codes) fill() {
	for s := range endOfBlock {
		c.literals[s] = entryLiteral | uint32(s)<<entryValue
	}
	c.literals[endOfBlock] = entryEnd
	base := uint32(3)
	for s := endOfBlock + 1; s < literals; s++ {
		extra := uint32(max(0, (s-261)/4))
		c.literals[s] = base<<entryValue + extra
		base += 1 << extra
	}
	c.literals[285] = maxMatch << entryValue
	c.literals[286], c.literals[287] = entryInvalid, entryInvalid // they have codes, but never occur
	base = 1
	for s := range c.distances {
		extra := uint32(max(0, s/2-1))
		c.distances[s] = base<<entryValue + extra
		base += 1 << extra
	}
	c.distances[30], c.distances[31] = entryInvalid, entryInvalid
	for s := range c.lengths {
		c.lengths[s] = uint32(s) << entryValue
	}
}

// fixed makes the tables of blocks with fixed codes. RFC 1951 §3.2.6.
func (c *codes) fixed(t *tables) {
	lit, dist := c.sizes[:literals], c.sizes[literals:]
	for s := range lit {
		switch {
		case s < 144, s >= 280:
			lit[s] = 8
		case s < 256:
			lit[s] = 9
		default:
			lit[s] = 7
		}
	}
	for s := range dist {
		dist[s] = 5
	}
	t.litWidth = c.build(t.lit, lit, c.literals[:], literalBits, true)
	t.distWidth = c.build(t.dist, dist, c.distances[:], distanceBits, true)
}

// dynamicTables reads the codes of a block and makes its tables. It reports false if they are invalid. RFC 1951 §3.2.7.
func (f *inflater) dynamicTables() bool {
	lit, dist, n := int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4
	if lit > 286 || dist > 30 {
		return false
	}
	var sizes [19]uint8
	for _, s := range "\x10\x11\x12\x00\x08\x07\x09\x06\x0a\x05\x0b\x04\x0c\x03\x0d\x02\x0e\x01\x0f"[:n] {
		if !f.load() {
			return false
		}
		sizes[s] = uint8(f.take(3))
	}
	width := f.codes.build(f.codes.lengthTable[:], sizes[:], f.codes.lengths[:], lengthBits, false)
	c, t := &f.codes, &f.custom
	if width == 0 || !f.codeLengths(c.sizes[:lit+dist], width) {
		return false
	}
	t.litWidth = c.build(t.lit, c.sizes[:lit], c.literals[:], literalBits, true)
	t.distWidth = c.build(t.dist, c.sizes[lit:lit+dist], c.distances[:], distanceBits, true)
	return t.litWidth != 0 && t.distWidth != 0
}

// codeLengths reads the lengths of the codes for literals and distances.
func (f *inflater) codeLengths(sizes []uint8, width int) bool {
	for i := 0; i < len(sizes); {
		if f.n < lengthBits+7 && !f.load() {
			return false
		}
		e := f.codes.lengthTable[f.hold&(1<<width-1)]
		f.take(uint(e & 63))
		s, value, n := e>>entryValue, uint8(0), 1
		switch s {
		case 16:
			if i == 0 {
				return false
			}
			value, n = sizes[i-1], 3+int(f.take(2))
		case 17:
			n = 3 + int(f.take(3))
		case 18:
			n = 11 + int(f.take(7))
		default:
			value = uint8(s)
		}
		if n > len(sizes)-i {
			return false
		}
		for range n {
			sizes[i] = value
			i++
		}
	}
	return true
}
