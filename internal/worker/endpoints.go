package worker

import (
	"fmt"
	"maps"
	"slices"

	"github.com/expedite-go/expedite/internal/engine"
	"github.com/expedite-go/expedite/internal/route"
)

// endpoints finds the endpoints of a worker. It is never changed.
type endpoints struct {
	set     *route.Set
	list    []*engine.Route // in the order of the set
	byText  map[string]*engine.Route
	byShape map[string]*engine.Route
}

// newEndpoints returns the endpoints by their patterns.
func newEndpoints(byPattern map[string]*engine.Route) (*endpoints, error) {
	e := &endpoints{byText: byPattern, byShape: make(map[string]*engine.Route)}
	var patterns []*route.Pattern
	for _, text := range slices.Sorted(maps.Keys(byPattern)) {
		p, err := route.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("expedite: pattern %q: %w", text, err)
		}
		patterns = append(patterns, p)
		e.list = append(e.list, byPattern[text])
		e.byShape[p.Shape()] = byPattern[text]
	}
	var err error
	if e.set, err = route.NewSet(patterns); err != nil {
		return nil, fmt.Errorf("expedite: %w", err)
	}
	return e, nil
}

// match returns the endpoint of the path of a request, with its percent-encoding; nil if there is none.
func (e *endpoints) match(rawPath string) *engine.Route {
	if i, ok := e.set.Match(rawPath); ok {
		return e.list[i]
	}
	return nil
}

// of returns the endpoint with a pattern that another worker had, perhaps one of another release: names of wildcards
// may differ. It returns nil if there is none.
func (e *endpoints) of(pattern string) *engine.Route {
	if r := e.byText[pattern]; r != nil {
		return r
	}
	p, err := route.Parse(pattern)
	if err != nil { // a release without patterns took it literally, and it matched nothing else
		return nil
	}
	return e.byShape[p.Shape()]
}
