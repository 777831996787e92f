// Package tidy holds tests only: who may import whom, how long things may be, and whether the documentation is there.
package tidy
