// Package examples holds complete programs, each one readable file with a page and tests. `expedite new` makes projects
// of some of them.
package examples

import "embed"

// Files are the programs, their pages and tests, and the load scripts.
//
//go:embed */main.go */main_test.go */page.html load
var Files embed.FS
