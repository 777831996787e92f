package conformance

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Agreed is what client and server have agreed on. RFC 7692 §7.1.
type Agreed struct {
	On               bool
	ServerNoTakeover bool
	ClientNoTakeover bool
	ServerBits       int // 8 to 15
	ClientBits       int
}

// parameter is one of permessage-deflate.
type parameter struct{ name, value string }

// agree checks the answer of a server to an offer. RFC 7692 §5, §7.1.
func agree(offer string, answers []string) (Agreed, error) {
	a := Agreed{ServerBits: 15, ClientBits: 15}
	switch {
	case len(answers) == 0:
		return a, nil
	case len(answers) > 1:
		return a, broke("%d Sec-WebSocket-Extensions (RFC 6455 §11.3.2)", len(answers))
	case offer == "":
		return a, broke("it chose %q, which was not offered (RFC 6455 §4.1)", answers[0])
	}
	params, err := parseExtension(answers[0])
	if err != nil {
		return a, broke("Sec-WebSocket-Extensions %q: %v", answers[0], err)
	}
	a.On = true
	for _, p := range params {
		if err := a.set(p); err != nil {
			return a, broke("Sec-WebSocket-Extensions %q: %v", answers[0], err)
		}
	}
	faults := errors.New("it was not offered")
	for _, o := range strings.Split(offer, ",") {
		offered, err := parseExtension(o)
		if err != nil {
			continue
		}
		fault := a.fits(offered, params)
		if fault == nil {
			return a, nil
		}
		faults = fault
	}
	return a, broke("the answer %q to the offer %q: %v", answers[0], offer, faults)
}

// parseExtension parses one permessage-deflate and refuses duplicate parameters.
func parseExtension(s string) ([]parameter, error) {
	parts := strings.Split(s, ";")
	if !strings.EqualFold(strings.Trim(parts[0], " \t"), "permessage-deflate") {
		return nil, fmt.Errorf("want permessage-deflate, got %q", parts[0])
	}
	var list []parameter
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(strings.Trim(p, " \t"), "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		for _, other := range list {
			if other.name == name {
				return nil, fmt.Errorf("%s twice", name)
			}
		}
		list = append(list, parameter{name, strings.Trim(strings.Trim(value, " \t"), `"`)})
	}
	return list, nil
}

// set applies a parameter of the answer.
func (a *Agreed) set(p parameter) (err error) {
	switch p.name {
	case "server_no_context_takeover", "client_no_context_takeover":
		if p.value != "" {
			return fmt.Errorf("%s has a value (§7.1.1)", p.name)
		}
		a.ServerNoTakeover = a.ServerNoTakeover || p.name[0] == 's'
		a.ClientNoTakeover = a.ClientNoTakeover || p.name[0] == 'c'
	case "server_max_window_bits":
		a.ServerBits, err = windowBits(p)
	case "client_max_window_bits":
		a.ClientBits, err = windowBits(p)
	default:
		return fmt.Errorf("unknown parameter %q (§7.1)", p.name)
	}
	return err
}

func windowBits(p parameter) (int, error) {
	n, err := strconv.Atoi(p.value)
	if err != nil || n < 8 || n > 15 || p.value != strconv.Itoa(n) {
		return 0, fmt.Errorf("%s is %q, want 8 to 15 (§7.1.2)", p.name, p.value)
	}
	return n, nil
}

// fits returns an error if the answer is not one to the offer.
func (a *Agreed) fits(offered, answer []parameter) error {
	has := func(list []parameter, name string) (string, bool) {
		for _, p := range list {
			if p.name == name {
				return p.value, true
			}
		}
		return "", false
	}
	if _, ok := has(offered, "server_no_context_takeover"); ok && !a.ServerNoTakeover {
		return errors.New("want server_no_context_takeover (§7.1.1.1)")
	}
	if v, ok := has(offered, "server_max_window_bits"); ok && v != strconv.Itoa(min(a.ServerBits, atoi(v))) {
		return fmt.Errorf("want server_max_window_bits of at most %s (§7.1.2.1)", v)
	} else if _, answered := has(answer, "server_max_window_bits"); ok && !answered {
		return errors.New("want server_max_window_bits (§7.1.2.1)")
	}
	limit, ok := has(offered, "client_max_window_bits")
	_, answered := has(answer, "client_max_window_bits")
	switch {
	case answered && !ok:
		return errors.New("client_max_window_bits was not offered (§7.1.2.2)")
	case answered && limit != "" && a.ClientBits > atoi(limit):
		return fmt.Errorf("want client_max_window_bits of at most %s (§7.1.2.2)", limit)
	case limit != "":
		a.ClientBits = min(a.ClientBits, atoi(limit)) // the client has announced that it uses no more
	}
	return nil
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}
