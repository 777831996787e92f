//go:build damage

package expedite

import "os"

func damaged(what string) bool { return os.Getenv("EXPEDITE_DAMAGE") == what }
