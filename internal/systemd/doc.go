// Package systemd tells the service manager that has started this process what the process does, in the protocol of
// sd_notify(3): that it serves, that it reloads and has reloaded, that it stops and makes progress, and that it lives.
// Without a service manager it does nothing.
//
// A [Notifier] belongs to the one process that is the service. The others, which it starts, get nothing of the
// environment that [TakeEnvironment] has taken.
package systemd
