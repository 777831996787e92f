package command

import "regexp"

// negative matches a number below zero, and lacksValue a flag without a value in the same argument.
var (
	negative   = regexp.MustCompile(`^-[0-9.]`)
	lacksValue = regexp.MustCompile(`^--[^=]+$`)
)

// joinNegative joins a flag and the number below zero that follows it: alone, the parser takes the number for a flag.
func joinNegative(args []string) (joined []string) {
	for i, arg := range args {
		if arg == "--" {
			return append(joined, args[i:]...)
		}
		if last := len(joined) - 1; negative.MatchString(arg) && last >= 0 && lacksValue.MatchString(joined[last]) {
			joined[last] += "=" + arg
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}
