package tlsrecord_test

import (
	"crypto/tls"
	"testing"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// BenchmarkKeys derives the keys of a direction from its secret: what a connection costs that drops its AEADs while it
// is idle, twice, each time that it is used again.
func BenchmarkKeys(b *testing.B) {
	for _, suite := range []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256} {
		secret := make([]byte, 32)
		if suite == tls.TLS_AES_256_GCM_SHA384 {
			secret = make([]byte, 48)
		}
		b.Run(tls.CipherSuiteName(suite), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tlsrecord.NewReader(suite, secret); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
