package cluster

import "fmt"

// StartError is returned if a worker exited, or was killed, before it was ready.
type StartError struct {
	// Slot is the worker's place.
	Slot int
	// Err is how it ended: an *exec.ExitError, the error of executing it, or nil for exit code 0.
	Err error
	// Reason is the reason that the primary killed it for; empty if it exited by itself.
	Reason string
	// Stderr is the end of its standard error, at most 2 KiB.
	Stderr string
}

// Error returns one line with the slot, how the process ended, and the last line of its standard error.
func (e *StartError) Error() string {
	return fmt.Sprintf("cluster: worker %d did not start: %s", e.Slot, ending(e.Err, e.Reason, e.Stderr))
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// TrialError is returned if the trial of a program has shown that it could not replace the running one.
type TrialError struct {
	// Program is its path.
	Program string
	// Err is how the trial ended: an *exec.ExitError, or the error of executing it.
	Err error
	// Output is the end of its output, at most 2 KiB.
	Output string
}

// Error returns one line with the program, how its trial ended, and the last line of its output.
func (e *TrialError) Error() string {
	return fmt.Sprintf("%s, on trial: %s", e.Program, ending(e.Err, "", e.Output))
}

// Unwrap returns Err.
func (e *TrialError) Unwrap() error { return e.Err }

// ending describes how a process ended.
func ending(err error, reason, stderr string) string {
	end := "exit status 0"
	switch {
	case reason != "":
		end = reason
	case err != nil:
		end = err.Error()
	}
	if line := lastLine(stderr); line != "" {
		end += ": " + line
	}
	return end
}
