// Package view writes what a server answers on its control socket as text for people: the status, lists of sessions,
// the progress and result of an operation, and log lines. Text that a client chose cannot control a terminal.
package view
