package settings

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/backplane/redisplane"
	"github.com/expedite-go/expedite/internal/admin"
	"github.com/expedite-go/expedite/internal/certstore"
	"github.com/expedite-go/expedite/internal/forwarded"
	"github.com/expedite-go/expedite/internal/listener"
	"github.com/expedite-go/expedite/internal/redisconn"
)

// value is the type of a setting, and where its value goes.
type value struct {
	kind    string // name of the type, for the reference page
	example string
	target  any                        // pointer to the field that it sets
	set     func(texts []string) error // parses one text, or those of a list: errors, joined, then quote the elements
	list    bool                       // several texts
	cut     func(text string) []string // splits a text of a list; nil: at commas
	flag    bool                       // the flag needs no text
	enum    []string                   // all texts that are accepted; nil: the type decides
	secrecy secrecy

	// For the JSON Schema: the pattern of texts, and bounds of a number without a unit. Nil bounds are none.
	pattern  string
	min, max *int
	port     bool // a number without a unit is a port
}

// secrecy is what must not be shown of a value.
type secrecy uint8

const (
	public     secrecy = iota
	password           // the password of a URL
	secretText         // all of it; there is no flag and no key either
)

// scalar returns a value of which one text is parsed.
func scalar[T any](to *T, v value, parse func(string) (T, error)) value {
	v.target = to
	v.set = func(texts []string) error {
		parsed, err := parse(texts[len(texts)-1])
		if err == nil {
			*to = parsed
		}
		return err
	}
	return v
}

// list is a list of texts that check accepts and normalizes.
func list(to *[]string, check element) value {
	return value{
		kind: "list of " + check.kind, example: check.example, target: to, list: true,
		set: func(texts []string) error {
			var all []string
			var faults []error
			for _, t := range texts {
				one, err := check.parse(t)
				if err != nil {
					faults = append(faults, fmt.Errorf("%q: %w", t, err))
				}
				all = append(all, one)
			}
			if len(faults) == 0 {
				*to = all
			}
			return errors.Join(faults...)
		},
	}
}

// element is the type of an element of a list.
type element struct {
	kind, example string
	parse         func(string) (string, error)
}

// anyText is a text that needs no check.
func anyText() element {
	return element{"text", "TEXT", func(s string) (string, error) { return s, nil }}
}

// files are names of files.
func files() element {
	return element{"files", "FILE", func(s string) (string, error) { return s, nil }}
}

// hostName is the name of a host without a port.
func hostName() element {
	return element{"host names", "NAME", func(s string) (string, error) {
		if admin.CheckHost(s) != nil {
			return "", errors.New("want host names like metrics.example.com, without scheme, port or *")
		}
		return s, nil
	}}
}

// domain is a name for which an authority issues certificates.
func domain() element {
	return element{"domains", "DOMAIN", func(s string) (string, error) { return s, certstore.CheckDomain(s) }}
}

// proxyNetwork is an entry of [forwarded.ParseTrust].
func proxyNetwork() element {
	return element{"networks or unix", "CIDR", func(s string) (string, error) { return s, forwarded.CheckEntry(s) }}
}

// origin is the origin of pages, or a pattern of [auth.ParseOrigins].
func origin() element {
	return element{"origins", "ORIGIN", func(s string) (string, error) {
		o, err := auth.ParseOrigins([]string{s})
		if err != nil {
			return "", errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("auth: origin %q: ", s)))
		}
		return o[0], nil
	}}
}

// duration is a time above zero.
func duration(to *time.Duration) value {
	v := value{kind: "duration", example: "DURATION", pattern: durationPattern}
	return scalar(to, v, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return 0, errors.New("want a time above zero with a unit, like 30s")
		}
		return d, nil
	})
}

// timeout is a time, or none, which is -1 in the field.
func timeout(to *time.Duration) value {
	v := value{
		kind: "duration or 0", example: "DURATION", pattern: durationPattern + "|^(0|off|never)$", min: new(0), max: new(0),
	}
	return scalar(to, v, func(s string) (time.Duration, error) {
		if s == "off" || s == "never" {
			return -1, nil
		}
		d, err := time.ParseDuration(s)
		switch {
		case err != nil || d < 0:
			return 0, errors.New("want 0 or more with a unit, like 30s")
		case d == 0:
			return -1, nil
		}
		return d, nil
	})
}

// size is a number of bytes above zero.
func size(to *int64) value {
	return scalar(to, value{kind: "size", example: "SIZE", pattern: sizePattern}, func(s string) (int64, error) {
		return parseSize(s, "want a size above zero with a unit, like 512MiB or 4096B")
	})
}

// limit is a number of bytes above zero, or off, which is -1 in the field.
func limit(to *int64) value {
	v := value{kind: "size or off", example: "SIZE", pattern: sizePattern + "|^off$"}
	return scalar(to, v, func(s string) (int64, error) {
		if s == "off" {
			return -1, nil
		}
		return parseSize(s, "want a size above zero with a unit, like 512MiB or 4096B, or off")
	})
}

// byteRate is a number of bytes per second above zero.
func byteRate(to *int64) value {
	v := value{kind: "size per second", example: "RATE", pattern: `^[0-9]+([KMGT]i)?B(/s)?$`}
	return scalar(to, v, func(s string) (int64, error) {
		return parseSize(strings.TrimSuffix(s, "/s"), "want a size per second above zero, like 64KiB/s")
	})
}

// parseSize parses a number of bytes above zero with a unit. Otherwise its error is that text.
func parseSize(s, otherwise string) (int64, error) {
	n, err := expedite.ParseMemory(s)
	if err != nil || n == 0 || !strings.HasSuffix(s, "B") {
		return 0, errors.New(otherwise)
	}
	return n, nil
}

// progress is a number of bytes in a time, or off. One second may be written as s.
func progress(to *expedite.Progress) value {
	v := value{
		kind: "size in a time, or off", example: "RATE",
		pattern: `^[0-9]+([KMGT]i)?B/([0-9.]*(ns|us|µs|ms|s|m|h))+$|^off$`,
	}
	return scalar(to, v, func(s string) (expedite.Progress, error) {
		if s == "off" {
			return expedite.Progress{Bytes: -1}, nil
		}
		bytes, per, _ := strings.Cut(s, "/")
		n, err := parseSize(bytes, "")
		if per != "" && (per[0] < '0' || per[0] > '9') {
			per = "1" + per
		}
		d, errPer := time.ParseDuration(per)
		if err != nil || errPer != nil || n > math.MaxInt32 || d < time.Millisecond {
			return expedite.Progress{}, errors.New("want a size in a time, like 1KiB/10s, or off")
		}
		return expedite.Progress{Bytes: int(n), Per: d}, nil
	})
}

// integer is a number of at least least.
func integer(to *int, least int) value {
	return scalar(to, value{kind: "number", example: "N", min: &least}, func(s string) (int, error) {
		n, err := strconv.Atoi(s)
		if err != nil || n < least {
			return 0, fmt.Errorf("want a number, %d or more", least)
		}
		return n, nil
	})
}

func boolean(to *bool) value {
	return scalar(to, value{kind: "true or false", flag: true}, func(s string) (bool, error) {
		v, err := strconv.ParseBool(s)
		if err != nil {
			err = errors.New("want true or false")
		}
		return v, err
	})
}

// workers is a number of worker processes, or auto, which is 0 in the field.
func workers(to *int) value {
	v := value{kind: "number or auto", example: "N", pattern: "^auto$", min: new(1), max: new(expedite.MaxWorkers)}
	return scalar(to, v, ParseWorkers)
}

// ParseWorkers parses a number of workers. It returns 0 for auto.
func ParseWorkers(s string) (int, error) {
	if s == "auto" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > expedite.MaxWorkers {
		return 0, fmt.Errorf("want auto or a number from 1 to %d", expedite.MaxWorkers)
	}
	return n, nil
}

// addresses are those that clients connect to: the first one, and the others.
func addresses(first *string, others *[]string) value {
	return value{
		kind: "list of addresses", example: "ADDRESS", target: first, list: true, port: true,
		set: func(texts []string) error {
			var faults []error
			for _, t := range texts {
				_, err := ParseAddresses([]string{t})
				faults = append(faults, err)
			}
			if err := errors.Join(faults...); err != nil {
				return err
			}
			specs, err := ParseAddresses(texts)
			if err != nil {
				return err
			}
			*first, *others = specs[0].String(), nil
			for _, s := range specs[1:] {
				*others = append(*others, s.String())
			}
			return nil
		},
	}
}

// ParseAddresses parses the addresses that clients connect to. A port alone is short for a colon and that port.
func ParseAddresses(texts []string) ([]listener.Spec, error) {
	var all []string
	for _, t := range texts {
		if _, err := strconv.ParseUint(t, 10, 16); err == nil {
			t = ":" + t
		}
		all = append(all, t)
	}
	return listener.ParseAll(all)
}

// ParseAddress parses host:port, :port, or a port alone, and returns it with a colon. https:// may precede it.
func ParseAddress(s string) (string, error) {
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		s = ":" + s
	}
	address, plain := listener.CutScheme(s)
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	switch {
	case err != nil:
		return "", errors.New("want host:port, like 127.0.0.1:8080 or :8080")
	case plain == listener.On: // the default
		return address, nil
	default:
		return s, nil
	}
}

// addressOrOff is a TCP address, or off, which is empty in the field.
func addressOrOff(to *string) value {
	return scalar(to, value{kind: "address or off", example: "ADDRESS", port: true}, func(s string) (string, error) {
		if s == "off" {
			return "", nil
		}
		return ParseAddress(s)
	})
}

// text is any text.
func text(to *string) value {
	return scalar(to, value{kind: "text", example: "TEXT"}, func(s string) (string, error) { return s, nil })
}

// httpURL is a URL with the scheme http or https.
func httpURL(to *string) value {
	v := value{kind: "URL", example: "URL", pattern: "^https?://", secrecy: password}
	return scalar(to, v, func(s string) (string, error) {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "", errors.New("want a URL with http:// or https://, and a host")
		}
		return s, nil
	})
}

// directoryURL is the URL of an authority, which needs no password.
func directoryURL(to *string) value {
	v := value{kind: "https URL", example: "URL", pattern: "^https://"}
	return scalar(to, v, func(s string) (string, error) {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
			return "", errors.New("want the URL of an ACME directory, with https://")
		}
		return s, nil
	})
}

// redisURLs are the URLs of Redis servers, which may contain passwords: the first one, and the others.
func redisURLs(first *string, others *[]string) value {
	return value{
		kind: "list of URLs of Redis", example: "URL", target: first, list: true, cut: SplitURLs, secrecy: password,
		set: func(texts []string) error {
			var faults []error
			for _, t := range texts {
				if err := redisconn.CheckURL(t); err != nil {
					faults = append(faults, fmt.Errorf("%q: %w", maskPassword(t), err))
				}
			}
			if len(faults) == 0 && len(texts) > 1 {
				if _, err := redisplane.New(texts, redisplane.Config{}); err != nil {
					faults = append(faults, errors.New(strings.TrimPrefix(err.Error(), "backplane: Redis: ")))
				}
			}
			if len(faults) > 0 {
				return errors.Join(faults...)
			}
			*first, *others = texts[0], slices.Clone(texts[1:])
			return nil
		},
	}
}

// urlStart is where the next URL of a list begins: commas within a URL separate its hosts.
var urlStart = regexp.MustCompile(`[\s,]+[a-z]+(\+[a-z]+)?://`)

// SplitURLs splits a list of URLs at the commas and white space that are followed by a scheme.
func SplitURLs(text string) (urls []string) {
	const separators = ", \t\r\n"
	text = strings.Trim(text, separators)
	for text != "" {
		end := len(text)
		if at := urlStart.FindStringIndex(text); at != nil {
			end = at[0]
		}
		urls = append(urls, text[:end])
		text = strings.TrimLeft(text[end:], separators)
	}
	return urls
}

// secret is a secret, which is never a flag or a key, and never shown.
func secret[T string | []byte](to *T) value {
	v := value{kind: "secret", secrecy: secretText}
	return scalar(to, v, func(s string) (T, error) { return T(s), nil })
}

// word is one of some words. Without names, those of the values are what fmt prints, in lower case.
func word[T any](to *T, values []T, names ...string) value {
	if names == nil {
		for _, v := range values {
			names = append(names, strings.ToLower(fmt.Sprint(v)))
		}
	}
	return scalar(to, value{kind: "word", example: "WORD", enum: names}, func(s string) (v T, err error) {
		for i, name := range names {
			if name == strings.ToLower(s) {
				return values[i], nil
			}
		}
		last := len(names) - 1
		return v, fmt.Errorf("want %s or %s", strings.Join(names[:last], ", "), names[last])
	})
}

const (
	durationPattern = `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	sizePattern     = `^[0-9]+([KMGT]i)?B$`
)

// presenceTopics are the patterns of rules.
func presenceTopics(to *[]expedite.PresenceRule) value {
	return value{
		kind: "list of patterns", example: "PATTERN", target: to, list: true,
		set: func(texts []string) error {
			var rules []expedite.PresenceRule
			var faults []error
			for _, t := range texts {
				r := expedite.PresenceRule{Topics: t}
				if expedite.New(expedite.Config{Presence: []expedite.PresenceRule{r}}).Check() != nil {
					faults = append(faults, fmt.Errorf("%q: want a pattern of topics, up to 256 bytes, like lobby or room.*", t))
				}
				rules = append(rules, r)
			}
			if len(faults) == 0 {
				*to = rules
			}
			return errors.Join(faults...)
		},
	}
}
