package auth_test

import (
	"context"
	"testing"
	"time"

	"github.com/expedite-go/expedite/auth"
)

func BenchmarkVerify(b *testing.B) {
	k := testKeys()
	v := k.verifier(b)
	for _, bb := range []struct {
		alg, kid string
		key      any
	}{
		{"HS256", "hmac", []byte(testSecret)}, {"RS256", "rsa", k.rsa}, {"ES256", "ec", k.ec}, {"EdDSA", "ed", k.ed},
	} {
		tok := token(b, `{"alg":"`+bb.alg+`","kid":"`+bb.kid+`","typ":"JWT"}`, genuine, bb.alg, bb.key)
		b.Run(bb.alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(context.Background(), tok); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	tok := token(b, `{"alg":"ES256","kid":"ec"}`, `{"sub":"alice","exp":9999999999}`, "ES256", k.ec)
	c := auth.NewCache(mustJWT(b, auth.JWTConfig{Keys: k.set()}), 0, time.Hour)
	b.Run("ES256 cached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Verify(context.Background(), tok); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkExtract(b *testing.B) {
	r := request(b, "/chat?device=phone&access_token=abcdefgh.ijklmnop.qrstuvwx", "Origin: https://app.example.com", "Cookie: a=b; c=d")
	var e auth.Extractor
	b.ReportAllocs()
	for b.Loop() {
		if c, err := e.Extract(r, nil); err != nil || c.Source != auth.SourceQuery {
			b.Fatal(c, err)
		}
	}
}
