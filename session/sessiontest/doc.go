// Package sessiontest is what every session.Store must keep to, as tests: [Run] them over yours.
package sessiontest
