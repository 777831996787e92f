package reactor

// SealedMemory returns the memory of what a socket with TLS holds.
func SealedMemory(s Socket) int {
	t := s.sealed()
	return cap(t.part()) + cap(t.plain()) + cap(t.rest())
}
