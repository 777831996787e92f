package proxyproto

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/netip"
)

// fixed2 is the length of the part of a header of version 2 before the addresses. §2.2.
const fixed2 = 16

// Values of the byte after the signature: the version and the command. §2.2.
const (
	local2 = 0x20
	proxy2 = 0x21
)

// Address families, and the length of two addresses with their ports. §2.2.
const (
	familyUnspecified = 0
	familyIPv4        = 1
	familyIPv6        = 2
	familyUnix        = 3

	lengthIPv4 = 2*4 + 2*2
	lengthIPv6 = 2*16 + 2*2
	lengthUnix = 2 * 108
)

// Types of the fields after the addresses, and a bit of typeTLS. §2.2.3, §2.2.6.
const (
	typeChecksum = 0x03
	typeTLS      = 0x20
	bitTLS       = 0x01
)

// parse2 parses a header of version 2. b may be incomplete. §2.2.
func parse2(b []byte) (h Header, n int, err error) {
	if len(b) > 12 && b[12] != local2 && b[12] != proxy2 {
		return Header{}, 0, fmt.Errorf("%w: version and command %#02x", ErrInvalid, b[12])
	}
	if len(b) > 13 && b[12] == proxy2 && (b[13]>>4 > familyUnix || b[13]&0xf > 2) {
		return Header{}, 0, fmt.Errorf("%w: family and transport %#02x", ErrInvalid, b[13])
	}
	if len(b) < fixed2 {
		return Header{}, 0, nil
	}
	n = fixed2 + int(binary.BigEndian.Uint16(b[14:]))
	if n > MaxV2 {
		return Header{}, 0, fmt.Errorf("%w: %d bytes", ErrTooLong, n)
	}
	if len(b) < n {
		return Header{}, 0, nil
	}
	if b[12] == local2 { // everything else is discarded, the family included
		return Header{}, n, nil
	}
	if h, err = parseBlock(b[:n]); err != nil {
		return Header{}, 0, err
	}
	return h, n, nil
}

// parseBlock parses the addresses and fields of a complete header with the command PROXY. Without a known family and
// transport, the rest is not interpreted, because nothing tells how long the addresses are.
func parseBlock(b []byte) (h Header, err error) {
	family, transport := b[13]>>4, b[13]&0xf
	if family == familyUnspecified || transport == 0 {
		return Header{}, nil
	}
	length := [...]int{familyIPv4: lengthIPv4, familyIPv6: lengthIPv6, familyUnix: lengthUnix}[family]
	block := b[fixed2:]
	if len(block) < length {
		return Header{}, fmt.Errorf("%w: %d bytes of addresses, want %d", ErrInvalid, len(block), length)
	}
	switch family {
	case familyIPv4:
		h.Source = netip.AddrPortFrom(netip.AddrFrom4([4]byte(block)), binary.BigEndian.Uint16(block[8:]))
	case familyIPv6:
		addr := netip.AddrFrom16([16]byte(block)).Unmap()
		h.Source = netip.AddrPortFrom(addr, binary.BigEndian.Uint16(block[32:]))
	}
	return h, h.parseFields(b, fixed2+length)
}

// parseFields parses the fields of a header, which begin at byte from and end with the header. §2.2.1 and following.
func (h *Header) parseFields(b []byte, from int) error {
	checked := false
	for at := from; at < len(b); {
		kind, end, ok := field(b, at)
		if !ok {
			return fmt.Errorf("%w: field %#02x is cut off", ErrInvalid, kind)
		}
		value := b[at+3 : end]
		switch kind {
		case typeChecksum:
			if len(value) != 4 || checked {
				return fmt.Errorf("%w: want one checksum of 4 bytes", ErrInvalid)
			}
			if checked = true; checksum(b, at+3) != binary.BigEndian.Uint32(value) {
				return ErrChecksum
			}
		case typeTLS:
			if len(value) < 5 {
				return fmt.Errorf("%w: TLS field of %d bytes", ErrInvalid, len(value))
			}
			for sub := 5; sub < len(value); {
				if _, sub, ok = field(value, sub); !ok {
					return fmt.Errorf("%w: field within the TLS field is cut off", ErrInvalid)
				}
			}
			h.TLS = value[0]&bitTLS != 0
		}
		at = end
	}
	return nil
}

// field returns the type and the end of the field that begins at byte at, which exists. It reports false if the field
// exceeds b.
func field(b []byte, at int) (kind byte, end int, ok bool) {
	if len(b)-at < 3 {
		return b[at], len(b), false
	}
	end = at + 3 + int(binary.BigEndian.Uint16(b[at+1:]))
	return b[at], end, end <= len(b)
}

// checksum returns the CRC-32C of a header whose checksum is at byte at and counts as zero. §2.2.3.
func checksum(b []byte, at int) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(0, table, b[:at])
	sum = crc32.Update(sum, table, make([]byte, 4))
	return crc32.Update(sum, table, b[at+4:])
}
