package cluster

import "fmt"

// StartError says that a worker ended, or was ended, before it was ready.
type StartError struct {
	// Slot is the worker's place.
	Slot int
	// Err is how it ended: an *exec.ExitError, what kept it from being executed, or nil for exit code 0.
	Err error
	// Reason is why the primary has killed it; empty if it ended by itself.
	Reason string
	// Stderr is the end of what it wrote to its standard error, at most 2 KiB.
	Stderr string
}

// Error is one line: the slot, the end, and the last line of standard error.
func (e *StartError) Error() string {
	return fmt.Sprintf("cluster: worker %d did not start: %s", e.Slot, ending(e.Err, e.Reason, e.Stderr))
}

// Unwrap is Err.
func (e *StartError) Unwrap() error { return e.Err }

// TrialError says that a program could not take the place of the one that runs.
type TrialError struct {
	// Program is its path.
	Program string
	// Err is how its trial ended: an *exec.ExitError, or what kept it from being executed.
	Err error
	// Output is the end of what it wrote, at most 2 KiB.
	Output string
}

// Error is one line: the program, the end, and the last line of its output.
func (e *TrialError) Error() string {
	return fmt.Sprintf("%s, on trial: %s", e.Program, ending(e.Err, "", e.Output))
}

// Unwrap is Err.
func (e *TrialError) Unwrap() error { return e.Err }

// ending says in a few words how a worker ended.
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
