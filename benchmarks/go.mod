module github.com/expedite-go/expedite/benchmarks

go 1.26.0

require (
	github.com/expedite-go/expedite v0.0.0
	github.com/lxzan/gws v1.8.9
	golang.org/x/sys v0.49.0
)

replace github.com/expedite-go/expedite => ../
