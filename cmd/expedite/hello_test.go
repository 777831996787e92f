package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// hello is a ClientHello that offers exactly what it says, which neither crypto/tls nor OpenSSL do.
type hello struct {
	version     uint16 // the one in the message; that of supported_versions is in versions
	versions    []uint16
	suites      []uint16
	groups      []uint16
	share       uint16 // a group whose key is sent along; 0 is none
	signatures  []uint16
	compression []byte // nil is none
	name        string
	extensions  []byte // further ones
}

// hello12 and hello13 offer what servers of that version need, for s to change.
func hello12() hello {
	return hello{
		version: tls.VersionTLS12, suites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		}, groups: []uint16{uint16(tls.X25519), uint16(tls.CurveP256)}, signatures: commonSignatures(), name: "localhost",
	}
}

func hello13() hello {
	h := hello12()
	h.versions, h.suites = []uint16{tls.VersionTLS13}, []uint16{tls.TLS_AES_128_GCM_SHA256}
	h.share = uint16(tls.X25519)
	return h
}

func commonSignatures() []uint16 {
	return []uint16{uint16(tls.ECDSAWithP256AndSHA256), uint16(tls.PSSWithSHA256), uint16(tls.PKCS1WithSHA256)}
}

// with changes a copy.
func (h hello) with(change func(*hello)) hello {
	change(&h)
	return h
}

// extension appends an extension. RFC 8446 §4.2.
func extension(b []byte, kind uint16, content []byte) []byte {
	return list16(binary.BigEndian.AppendUint16(b, kind), content)
}

// list16 appends a vector whose length takes two bytes.
func list16(b, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(content))), content...)
}

func numbers(list []uint16) (b []byte) {
	for _, n := range list {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// bytes returns the records of h. RFC 8446 §4.1.2.
func (h *hello) bytes(t *testing.T) []byte {
	t.Helper()
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	b := append(binary.BigEndian.AppendUint16(nil, h.version), random...)
	b = append(b, 32) // the session's id, which TLS 1.3 wants to see again
	b = list16(append(b, random...), numbers(h.suites))
	compression := h.compression
	if compression == nil {
		compression = []byte{0}
	}
	b = append(append(b, byte(len(compression))), compression...)
	var x []byte
	if h.name != "" {
		x = extension(x, 0, list16(nil, list16([]byte{0}, []byte(h.name))))
	}
	if h.versions != nil {
		list := numbers(h.versions)
		x = extension(x, 43, append([]byte{byte(len(list))}, list...))
	}
	if h.groups != nil {
		x = extension(x, 10, list16(nil, numbers(h.groups)))
	}
	if h.signatures != nil {
		x = extension(x, 13, list16(nil, numbers(h.signatures)))
	}
	switch {
	case h.share == uint16(tls.X25519):
		key, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		x = extension(x, 51, list16(nil, list16(numbers([]uint16{h.share}), key.PublicKey().Bytes())))
	case h.versions != nil:
		x = extension(x, 51, list16(nil, nil))
	}
	if h.version > 0x0300 { // SSL 3.0 has no extensions
		b = list16(b, append(x, h.extensions...))
	}
	b = append([]byte{1, byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}, b...)
	var records []byte
	for part := range slices.Chunk(b, 1<<14) {
		records = list16(append(records, 22, 3, byte(min(h.version&0xff, 1))), part)
	}
	return records
}

// answer is what a server says first.
type answer struct {
	alert       int // 0 is none
	version     uint16
	suite       uint16
	group       uint16 // chosen by HelloRetryRequest, or by ServerKeyExchange
	signature   uint16 // of ServerKeyExchange
	compression byte
	extensions  []uint16 // of the ServerHello
}

// ask sends bytes to a server and reads its first flight, up to what TLS 1.3 encrypts.
func ask(t *testing.T, addr string, b []byte) answer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	var a answer
	var messages []byte
	for {
		var head [5]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			t.Fatalf("no answer: %v", err)
		}
		record := make([]byte, int(head[3])<<8|int(head[4]))
		if _, err := io.ReadFull(conn, record); err != nil {
			t.Fatal(err)
		}
		switch head[0] {
		case 21:
			a.alert = int(record[1])
			return a
		case 22:
			messages = append(messages, record...)
		}
		for len(messages) >= 4 && len(messages)-4 >= int(messages[2])<<8|int(messages[3]) {
			size := 4 + (int(messages[2])<<8 | int(messages[3]))
			if a.take(messages[0], messages[4:size]) {
				return a
			}
			messages = messages[size:]
		}
	}
}

// take understands a message of the server. It reports whether it was the last one in the clear.
func (a *answer) take(kind byte, m []byte) (last bool) {
	switch kind {
	case 2: // ServerHello. RFC 8446 §4.1.3
		a.version = binary.BigEndian.Uint16(m)
		again := sha256.Sum256([]byte("HelloRetryRequest"))
		retry := bytes.Equal(m[2:34], again[:])
		m = m[35+int(m[34]):]
		a.suite, a.compression = binary.BigEndian.Uint16(m), m[2]
		for m = m[min(len(m), 5):]; len(m) >= 4; m = m[4+int(binary.BigEndian.Uint16(m[2:])):] {
			kind := binary.BigEndian.Uint16(m)
			a.extensions = append(a.extensions, kind)
			switch kind {
			case 43:
				a.version = binary.BigEndian.Uint16(m[4:])
			case 51:
				a.group = binary.BigEndian.Uint16(m[4:])
			}
		}
		return retry || a.version == tls.VersionTLS13
	case 12: // ServerKeyExchange. RFC 8422 §5.4
		a.group = binary.BigEndian.Uint16(m[1:])
		a.signature = binary.BigEndian.Uint16(m[4+int(m[3]):])
	case 14: // ServerHelloDone
		return true
	}
	return false
}

// String returns the version, or the alert.
func (a *answer) String() string {
	if a.alert != 0 {
		return refusal(tls.AlertError(a.alert))
	}
	return tls.VersionName(a.version)
}

func refusal(alert error) string { return "refused: " + strings.TrimPrefix(alert.Error(), "tls: ") }

// every returns what the server chooses of all numbers of 16 bits, apart from some, in ascending order: it offers many
// at once, and then the same without what was chosen.
func every(t *testing.T, addr string, offer func([]uint16) hello, chosen func(*answer) uint16, but ...uint16) []uint16 {
	t.Helper()
	var found []uint16
	for list := range slices.Chunk(allNumbers(), atOnce) {
		for {
			list = slices.DeleteFunc(list, func(n uint16) bool { return slices.Contains(but, n) || slices.Contains(found, n) })
			h := offer(list)
			a := ask(t, addr, h.bytes(t))
			if a.alert != 0 {
				break
			}
			n := chosen(&a)
			if !slices.Contains(list, n) {
				t.Fatalf("the server chooses %#x, which was not offered", n)
			}
			found = append(found, n)
		}
	}
	return found
}

// accepted is like every, where the server does not tell in the clear what it has chosen: it looks for what is accepted
// alone in halves of what is accepted together.
func accepted(t *testing.T, addr string, offer func([]uint16) hello) []uint16 {
	t.Helper()
	var search func(list []uint16) []uint16
	search = func(list []uint16) []uint16 {
		h := offer(list)
		if a := ask(t, addr, h.bytes(t)); a.alert != 0 {
			return nil
		}
		if len(list) == 1 {
			return list
		}
		return append(search(list[:len(list)/2]), search(list[len(list)/2:])...)
	}
	var found []uint16
	for list := range slices.Chunk(allNumbers(), atOnce) {
		found = append(found, search(list)...)
	}
	return found
}

// atOnce is how many numbers a ClientHello offers: it may have up to 32 KiB.
const atOnce = 1 << 13

func allNumbers() (list []uint16) {
	for n := range 1 << 16 {
		list = append(list, uint16(n))
	}
	return list
}
