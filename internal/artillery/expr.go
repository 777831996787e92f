package artillery

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Conditions are written in a small language of numbers, names of metrics, + - * / ^ %, comparisons, and, or, not and
// parentheses. True is 1 and false is 0.

// maxExpr limits the length of a condition in bytes, and thereby its nesting.
const maxExpr = 1000

// expr is a parsed condition.
type expr interface {
	// eval returns an error if a metric was not measured.
	eval(m map[string]float64) (float64, error)
}

type constant float64

func (c constant) eval(map[string]float64) (float64, error) { return float64(c), nil }

type metric string

// errUnmeasured is returned for a metric without a value.
var errUnmeasured = errors.New("not measured")

func (n metric) eval(m map[string]float64) (float64, error) {
	v, ok := m[string(n)]
	if !ok {
		return 0, fmt.Errorf("%s: %w", string(n), errUnmeasured)
	}
	return v, nil
}

type operation struct {
	op   string
	a, b expr // a is nil for unary operators
}

func (o operation) eval(m map[string]float64) (a float64, err error) {
	if o.a != nil {
		if a, err = o.a.eval(m); err != nil {
			return 0, err
		}
	}
	switch { // short-circuit evaluation
	case o.op == "and" && a == 0:
		return 0, nil
	case o.op == "or" && a != 0:
		return 1, nil
	}
	b, err := o.b.eval(m)
	if err != nil {
		return 0, err
	}
	switch o.op {
	case "and", "or":
		return truth(b != 0), nil
	case "not":
		return truth(b == 0), nil
	case "neg":
		return -b, nil
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "/":
		return a / b, nil
	case "%":
		return math.Mod(a, b), nil
	case "^":
		return math.Pow(a, b), nil
	case "==":
		return truth(a == b), nil
	case "!=":
		return truth(a != b), nil
	case "<":
		return truth(a < b), nil
	case "<=":
		return truth(a <= b), nil
	case ">":
		return truth(a > b), nil
	}
	return truth(a >= b), nil
}

func truth(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// exprReader parses an expression token by token.
type exprReader struct {
	rest  string
	token string
	known func(name string) error
}

// parseExpr parses a condition. known returns an error for unknown names of metrics.
func parseExpr(s string, known func(string) error) (expr, error) {
	if len(s) > maxExpr {
		return nil, fmt.Errorf("the expression is longer than %d bytes", maxExpr)
	}
	r := &exprReader{rest: s, known: known}
	if err := r.next(); err != nil {
		return nil, err
	}
	e, err := r.binary(0)
	if err == nil && r.token != "" {
		err = fmt.Errorf("unexpected %q", r.token)
	}
	return e, err
}

const (
	digits     = "0123456789."
	nameLetter = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_$"
)

// next reads the next token. An empty token marks the end.
func (r *exprReader) next() error {
	s := strings.TrimLeft(r.rest, " \t\r\n")
	size := 1
	switch {
	case s == "":
		size = 0
	case strings.ContainsRune(digits, rune(s[0])):
		size = len(s) - len(strings.TrimLeft(s, digits))
	case strings.ContainsRune(nameLetter, rune(s[0])):
		size = len(s) - len(strings.TrimLeft(s, nameLetter+digits))
	case len(s) > 1 && s[1] == '=' && strings.ContainsRune("=!<>", rune(s[0])):
		size = 2
	case !strings.ContainsRune("+-*/%^<>()", rune(s[0])):
		return fmt.Errorf("unexpected %q: "+
			"known are numbers, names of metrics, + - * / %% ^ == != < <= > >= and or not ( )", s)
	}
	r.token, r.rest = s[:size], s[size:]
	return nil
}

// levels returns the binary operators in the order of precedence, lowest first.
func levels() [][]string {
	return [][]string{{"or"}, {"and"}, {"==", "!=", "<", "<=", ">", ">="}, {"+", "-"}, {"*", "/", "%"}, {"^"}}
}

func (r *exprReader) binary(level int) (expr, error) {
	all := levels()
	if level == len(all) {
		return r.unary()
	}
	a, err := r.binary(level + 1)
	if err != nil {
		return nil, err
	}
	for {
		op := ""
		for _, o := range all[level] {
			if r.token == o {
				op = o
			}
		}
		if op == "" {
			return a, nil
		}
		if err := r.next(); err != nil {
			return nil, err
		}
		b, err := r.binary(level + 1)
		if err != nil {
			return nil, err
		}
		a = operation{op, a, b}
	}
}

func (r *exprReader) unary() (expr, error) {
	token := r.token
	if token == "" {
		return nil, errors.New("the expression ends too early")
	}
	if err := r.next(); err != nil {
		return nil, err
	}
	switch {
	case token == "not":
		e, err := r.binary(2) // the level of comparisons
		return operation{op: "not", b: e}, err
	case token == "-":
		e, err := r.unary()
		return operation{op: "neg", b: e}, err
	case token == "(":
		e, err := r.binary(0)
		if err != nil {
			return nil, err
		}
		if r.token != ")" {
			return nil, errors.New("want a closing parenthesis")
		}
		return e, r.next()
	case strings.ContainsRune(digits, rune(token[0])):
		v, err := strconv.ParseFloat(token, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", token)
		}
		return constant(v), nil
	case strings.ContainsRune(nameLetter, rune(token[0])):
		return metric(token), r.known(token)
	}
	return nil, fmt.Errorf("unexpected %q", token)
}
