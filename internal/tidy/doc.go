// Package tidy counts exported names. Its tests check imports, sizes, documentation and other rules of this repository.
package tidy
