package engine

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/certtest"
	"github.com/expedite-go/expedite/internal/secure"
)

// securedBy returns a source that uses TLS, what its clients need, and its server.
func securedBy(t *testing.T) (func(string) Source, *tls.Config, *secure.Server) {
	t.Helper()
	a := certtest.New(t)
	pair := a.Issue("server", "localhost")
	server, err := secure.NewServer(secure.Config{
		Files: secure.Files{Pairs: []secure.KeyPair{{Cert: pair.Cert, Key: pair.Key}}},
		Loop:  true, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	source := func(string) Source { return Source{Secure: server.Wrap} }
	return source, &tls.Config{RootCAs: a.Pool, ServerName: "localhost"}, server
}

// forgedHalf is a direction of a forger.
type forgedHalf struct {
	t      *testing.T
	secret []byte
	aead   cipher.AEAD
	iv     []byte
	seq    uint64
}

func newForgedHalf(t *testing.T, secret []byte) *forgedHalf {
	h := &forgedHalf{t: t, secret: secret}
	h.rekey()
	return h
}

func (h *forgedHalf) expand(label string, n int) []byte {
	label = "tls13 " + label
	b, err := hkdf.Expand(sha256.New, h.secret, string([]byte{0, byte(n), byte(len(label))})+label+"\x00", n)
	if err != nil {
		h.t.Fatal(err)
	}
	return b
}

func (h *forgedHalf) rekey() {
	block, err := aes.NewCipher(h.expand("key", 16))
	if err != nil {
		h.t.Fatal(err)
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		h.t.Fatal(err)
	}
	h.iv, h.seq = h.expand("iv", 12), 0
}

// next changes the keys, after a KeyUpdate.
func (h *forgedHalf) next() {
	h.secret = h.expand("traffic upd", sha256.Size)
	h.rekey()
}

func (h *forgedHalf) nonce() []byte {
	nonce := bytes.Clone(h.iv)
	binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^h.seq)
	h.seq++
	return nonce
}

// forger is a client with TLS 1.3 that has the keys and keeps no rule.
type forger struct {
	raw     net.Conn
	out, in *forgedHalf
}

// forge does the handshake.
func (f *fixture) forge(t *testing.T, cfg *tls.Config) *forger {
	t.Helper()
	raw := f.connect(t, "").conn
	var lines bytes.Buffer
	cfg = cfg.Clone()
	cfg.KeyLogWriter, cfg.MinVersion = &lines, tls.VersionTLS13
	c := tls.Client(&wholeRecords{Conn: raw}, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if c.ConnectionState().CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		t.Skip("crypto/tls prefers another cipher on this processor")
	}
	secret := func(label string) []byte {
		for line := range strings.Lines(lines.String()) {
			if fields := strings.Fields(line); fields[0] == label {
				b, err := hex.DecodeString(fields[2])
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
		}
		t.Fatalf("no %s", label)
		return nil
	}
	return &forger{
		raw, newForgedHalf(t, secret("CLIENT_TRAFFIC_SECRET_0")), newForgedHalf(t, secret("SERVER_TRAFFIC_SECRET_0")),
	}
}

// wholeRecords is a connection of which no more is read than one record.
type wholeRecords struct {
	net.Conn
	left []byte
}

func (c *wholeRecords) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		record, err := readRecord(c.Conn)
		if err != nil {
			return 0, err
		}
		c.left = record
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}

func readRecord(r io.Reader) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	record := append(head, make([]byte, int(head[3])<<8|int(head[4]))...)
	_, err := io.ReadFull(r, record[5:])
	return record, err
}

// Content types and messages. RFC 8446 §5.1, §4.
const (
	cipherRecord, alertRecord, handshakeRecord, dataRecord = 20, 21, 22, 23

	keyUpdate, keyUpdateRequest = "\x18\x00\x00\x01\x00", "\x18\x00\x00\x01\x01"
)

// seal returns a record with any content, followed by padding.
func (f *forger) seal(kind byte, content string, padding ...byte) []byte {
	inner := append(append([]byte(content), kind), padding...)
	n := len(inner) + f.out.aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return append(head, f.out.aead.Seal(nil, f.out.nonce(), inner, head)...)
}

// seals returns n such records without padding.
func (f *forger) seals(n int, kind byte, content string) (b []byte) {
	for range n {
		b = append(b, f.seal(kind, content)...)
	}
	return b
}

// updates returns KeyUpdates, each with the keys that the one before has set.
func (f *forger) updates(n int, message string) (b []byte) {
	for range n {
		b = append(b, f.seal(handshakeRecord, message)...)
		f.out.next()
	}
	return b
}

// noAlert means that a connection has ended without an alert, and leftOut that the system has dropped what came last.
const noAlert, leftOut = -1, -2

// answer reads records until one has text, or up to an alert. It returns the alert.
func (f *forger) answer(text string) (alert int, err error) {
	var got []byte
	for {
		record, err := readRecord(f.raw)
		switch {
		case errors.Is(err, io.EOF):
			return noAlert, nil
		case err != nil && strings.Contains(err.Error(), "reset"):
			return leftOut, nil
		case err != nil:
			return 0, err
		}
		inner, err := f.in.aead.Open(nil, f.in.nonce(), record[5:], record[:5])
		if err != nil {
			return 0, fmt.Errorf("a record of %d bytes: %w", len(record), err)
		}
		content := inner[:len(inner)-1]
		switch inner[len(inner)-1] {
		case alertRecord:
			return int(content[1]), nil
		case handshakeRecord:
			if string(content) == keyUpdate {
				f.in.next()
			}
		default:
			if got = append(got, content...); text != "" && bytes.Contains(got, []byte(text)) {
				return noAlert, nil
			}
		}
	}
}
