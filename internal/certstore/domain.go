package certstore

import (
	"errors"
	"fmt"
	"net"
	"strings"
)

// maxDomain is the maximum length of a domain. DNS has 253; a file name with its suffix must fit in 255 bytes.
const maxDomain = 240

// CheckDomain returns an error that says what to do if an authority cannot certify a domain by the challenges that a
// server can answer itself. A domain is written in lower case, and in ASCII.
func CheckDomain(name string) error {
	switch {
	case strings.Contains(name, "*"):
		return fmt.Errorf("%q is a wildcard, which needs a challenge in the DNS: list each name, or get the certificate "+
			"with another program and name its files", name)
	case net.ParseIP(strings.Trim(name, "[]")) != nil:
		return fmt.Errorf("%q is an IP address: want the name of a host", name)
	case strings.ContainsAny(name, "/:@ "):
		return fmt.Errorf("%q is not the name of a host: want one like example.com, without a scheme or a port", name)
	case name != strings.ToLower(name):
		return fmt.Errorf("%q has capital letters: write %q", name, strings.ToLower(name))
	case len(name) > maxDomain:
		return fmt.Errorf("%q is longer than %d bytes", name, maxDomain)
	case !strings.Contains(strings.Trim(name, "."), "."):
		return fmt.Errorf("%q has no dot: authorities certify names like example.com only", name)
	}
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if err := checkLabel(l); err != nil {
			return fmt.Errorf("%q is not the name of a host: %w", name, err)
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" { // RFC 3696 §2
		return fmt.Errorf("%q ends with a number: want the name of a host", name)
	}
	return nil
}

// maxLabel is the maximum length of a part of a name. RFC 1035 §2.3.4.
const maxLabel = 63

// checkLabel checks a part of a name. RFC 1123 §2.1.
func checkLabel(l string) error {
	switch {
	case l == "":
		return errors.New("a part of it is empty")
	case len(l) > maxLabel:
		return fmt.Errorf("a part of it is longer than %d bytes", maxLabel)
	case l[0] == '-' || l[len(l)-1] == '-':
		return errors.New("a part of it begins or ends with a hyphen")
	}
	for _, r := range l {
		if r >= 0x80 {
			return errors.New("write it in ASCII, with xn-- (Punycode)")
		}
		if !isAlphanumeric(byte(r)) && r != '-' {
			return fmt.Errorf("it contains %q", r)
		}
	}
	return nil
}

func isAlphanumeric(b byte) bool { return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' }

// CheckPublic returns an error if no public authority certifies a domain, because it is not in the public DNS, as in
// RFC 6761, RFC 6762 and RFC 7686.
func CheckPublic(name string) error {
	for _, special := range []string{
		"localhost", "local", "test", "invalid", "example", "internal", "onion", "arpa", "alt", "lan", "home", "corp",
	} {
		if strings.HasSuffix(name, "."+special) {
			return fmt.Errorf("%q: no public authority certifies names that end with .%s; an authority of your own does: "+
				"name its URL", name, special)
		}
	}
	return nil
}

// maxToken bounds a token of http-01. Those of Let's Encrypt have 43 bytes.
const maxToken = 200

// isToken reports whether s may be a token: RFC 8555 §8.3 wants the alphabet of base64url.
func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for i := range len(s) {
		if b := s[i]; !isAlphanumeric(b) && (b < 'A' || b > 'Z') && b != '-' && b != '_' {
			return false
		}
	}
	return true
}
