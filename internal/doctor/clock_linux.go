package doctor

import "golang.org/x/sys/unix"

// synchronized asks the kernel whether its clock is synchronized.
func synchronized() (bool, error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return false, err
	}
	return t.Status&unix.STA_UNSYNC == 0, nil
}
