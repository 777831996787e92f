//go:build damage

package primary

import "os"

// damaged reports whether EXPEDITE_DAMAGE names a fault.
func damaged(fault string) bool { return os.Getenv("EXPEDITE_DAMAGE") == fault }
