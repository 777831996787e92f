package tlsrecord_test

import (
	"crypto/tls"
	"testing"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// BenchmarkKeys derives the keys of a direction from its secret, as after a handshake.
func BenchmarkKeys(b *testing.B) {
	eachSuite(b, func(b *testing.B, suite uint16, secret []byte) {
		for b.Loop() {
			if _, err := tlsrecord.NewReader(suite, secret); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRest seals a record of 20 bytes, with a cipher that has rested, and with one that is ready. The difference is
// what a direction costs each time that it is used again.
func BenchmarkRest(b *testing.B) {
	for name, rest := range map[string]bool{"rested": true, "ready": false} {
		b.Run(name, func(b *testing.B) {
			eachSuite(b, func(b *testing.B, suite uint16, secret []byte) {
				w, err := tlsrecord.NewWriter(suite, secret, 0)
				if err != nil {
					b.Fatal(err)
				}
				buf, parts := make([]byte, 0, 100), [][]byte{make([]byte, 20)}
				for b.Loop() {
					if rest {
						w.Rest()
					}
					if _, _, err := w.Append(buf, parts, 20); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// eachSuite runs a benchmark for each suite, with a secret of its size.
func eachSuite(b *testing.B, f func(b *testing.B, suite uint16, secret []byte)) {
	for _, suite := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256} {
		secret := make([]byte, 32)
		if suite == tls.TLS_AES_256_GCM_SHA384 {
			secret = make([]byte, 48)
		}
		b.Run(tls.CipherSuiteName(suite), func(b *testing.B) {
			b.ReportAllocs()
			f(b, suite, secret)
		})
	}
}
