package certstore

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/expedite-go/expedite/internal/certtest"
)

// TestCheckDomain: what no authority certifies by these challenges is refused, with what to do.
func TestCheckDomain(t *testing.T) {
	for name, want := range map[string]string{
		"example.com": "", "a-b.example.co.uk": "", "xn--bcher-kva.example": "", "1.example.com": "",
		"*.example.com": "wildcard", "192.0.2.1": "IP address", "[2001:db8::1]": "IP address", "2001:db8::1": "IP address",
		"https://example.com": "scheme", "example.com:443": "port", "a@example.com": "without", "example.com/x": "scheme",
		"Example.com": `write "example.com"`, "bücher.example": "Punycode", "localhost": "no dot", "com": "no dot",
		"": "no dot", ".com": "no dot", "com.": "no dot", "a..com": "empty", "example.com.": "empty", ".example.com": "empty",
		"-a.com": "hyphen", "a-.com": "hyphen", "a_b.com": "contains", "1.2.3": "number", "..": "no dot",
		"../x.com": "scheme", "a\x00.com": "contains", "a.com+token": "contains",
		strings.Repeat("a", 64) + ".com":          "longer than 63",
		strings.Repeat("abcdefg.", 31) + "ab.com": "longer than 240",
	} {
		err := CheckDomain(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", name, err, want)
		}
	}
	for name, public := range map[string]bool{
		"example.com": true, "localhost.com": true, "contest.com": true, "a.local": false, "a.b.test": false, "x.internal": false,
	} {
		if err := CheckPublic(name); (err == nil) != public {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

// issue stores a certificate for host as that of name.
func issue(t *testing.T, f Folder, name, host string) certtest.Pair {
	t.Helper()
	p := certtest.New(t).Issue("x", host)
	if err := f.Write(name, p.TLS.PrivateKey.(*ecdsa.PrivateKey), p.TLS.Certificate); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCertificates: what was written is read, by its owner only, and what cannot be used is an error that names it.
func TestCertificates(t *testing.T) {
	f := Folder(filepath.Join(t.TempDir(), "a", "b"))
	if _, err := f.Read("one.test"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no certificate: %v", err)
	}
	p := issue(t, f, "one.test", "one.test")
	c, err := f.Read("one.test")
	if err != nil || !c.Leaf.Equal(p.TLS.Leaf) {
		t.Errorf("got %v, %v", c, err)
	}
	for path, mode := range map[string]fs.FileMode{string(f): 0o700, f.Path("one.test"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	issue(t, f, "two.test", "one.test")
	text, err := os.ReadFile(f.Path("one.test"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.Path("three.test"), text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(f.Path("four.test"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"two.test", "three.test", "four.test"} {
		_, err := f.Read(name)
		if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), f.Path(name)) {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: a key in an error: %v", name, err)
		}
	}
	if err := f.Try(); err != nil {
		t.Error(err)
	}
	if names := list(t, f); names != "four.test one.test three.test two.test" {
		t.Errorf("got the files %q", names)
	}
}

func list(t *testing.T, f Folder) string {
	t.Helper()
	entries, err := os.ReadDir(string(f))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestAnswers: answers to challenges are found by their token or domain until they are removed, and no name leads out of
// the folder. What a process has left is removed after an hour.
func TestAnswers(t *testing.T) {
	dir := t.TempDir()
	f := Folder(filepath.Join(dir, "certificates"))
	p := certtest.New(t).Issue("x", "one.test")
	if err := errors.Join(f.WriteToken("one.test", &p.TLS), f.WriteAnswer("t-_0K", "answer")); err != nil {
		t.Fatal(err)
	}
	if c, err := f.Token("one.test"); err != nil || !c.Leaf.Equal(p.TLS.Leaf) {
		t.Errorf("got %v, %v", c, err)
	}
	if b, err := f.Answer("t-_0K"); err != nil || string(b) != "answer" {
		t.Errorf("got %q, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret+http-01"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"", "../secret", "..", "a/b", "a.b", "a+b", "a\x00", strings.Repeat("a", maxToken+1)} {
		if b, err := f.Answer(token); err == nil {
			t.Errorf("%q: got %q", token, b)
		}
		if err := f.WriteAnswer(token, "x"); err == nil {
			t.Errorf("%q is written", token)
		}
	}
	if _, err := f.Token("../one.test"); err == nil {
		t.Error("a name leads out of the folder")
	}
	if err := os.WriteFile(filepath.Join(string(f), newPrefix+"1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Sweep(time.Now()); err != nil || list(t, f) != "new-1 one.test+token t-_0K+http-01" {
		t.Errorf("swept too early: %v, %q", err, list(t, f))
	}
	if err := f.RemoveToken("one.test"); err != nil || list(t, f) != "new-1 t-_0K+http-01" {
		t.Errorf("not removed: %v, %q", err, list(t, f))
	}
	if err := errors.Join(f.RemoveToken("one.test"), f.RemoveAnswer("../x")); err != nil {
		t.Errorf("removed again: %v", err)
	}
	if err := f.Sweep(time.Now().Add(leftover + time.Minute)); err != nil || list(t, f) != "" {
		t.Errorf("not swept: %v, %q", err, list(t, f))
	}
	if err := Folder(filepath.Join(dir, "none")).Sweep(time.Now()); err != nil {
		t.Error(err)
	}
}

// TestAccountKey: there is one key of the account, and a file that has none is not replaced.
func TestAccountKey(t *testing.T) {
	f := Folder(t.TempDir())
	first, err := f.AccountKey()
	if err != nil {
		t.Fatal(err)
	}
	second, err := f.AccountKey()
	if err != nil || !first.(*ecdsa.PrivateKey).Equal(second) {
		t.Errorf("got another key, %v", err)
	}
	path := filepath.Join(string(f), accountFile)
	for _, text := range []string{"", "-----BEGIN EC PRIVATE KEY-----\nMTIz\n-----END EC PRIVATE KEY-----\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.AccountKey(); err == nil || !strings.Contains(err.Error(), "to register again") {
			t.Errorf("got %v", err)
		}
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, []byte(text)) {
			t.Errorf("replaced by %q, %v", b, err)
		}
	}
}

// TestFailure: what an authority has refused is known to the next process, until it is removed.
func TestFailure(t *testing.T) {
	f := Folder(t.TempDir())
	want := Failure{Refusals: 3, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for _, state := range []Failure{{}, want, {}, {}} {
		if err := f.WriteFailure("one.test", state); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Failure("one.test"); err != nil || got != state {
			t.Errorf("got %+v, %v, want %+v", got, err, state)
		}
	}
	if names := list(t, f); names != "" {
		t.Errorf("got the files %q", names)
	}
	for _, text := range []string{"x", `{"refusals":-1}`} {
		if err := os.WriteFile(filepath.Join(string(f), "one.test"+failureSuffix), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Failure("one.test"); got != (Failure{}) || (err == nil) != (text != "x") {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	if _, err := f.Failure("../one.test"); err == nil || f.WriteFailure("../one.test", want) == nil {
		t.Error("a name leads out of the folder")
	}
}
