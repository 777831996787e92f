package settings

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite"
)

// eventRate is a number of events per second, with a burst or with what comes in a second as the burst; or off.
func eventRate(to *expedite.EventRate) value {
	v := value{kind: "events, or off", example: "N/BURST", min: new(1), pattern: `^[0-9]+([.][0-9]+)?(/[0-9]+)?$|^off$`}
	return scalar(to, v, func(s string) (expedite.EventRate, error) {
		if s == "off" {
			return expedite.EventRate{}, nil
		}
		per, burst, hasBurst := strings.Cut(s, "/")
		rate, err := strconv.ParseFloat(per, 64)
		n := 0
		if hasBurst && err == nil {
			n, err = strconv.Atoi(burst)
		}
		if err != nil || !(rate > 0) || math.IsInf(rate, 0) || hasBurst && n < 1 {
			return expedite.EventRate{}, errors.New("want a number per second above zero and a burst, like 50/100, or off")
		}
		return expedite.EventRate{PerSecond: rate, Burst: n}, nil
	})
}

// smallSize is a number of bytes above zero that fits into an int.
func smallSize(to *int) value {
	return scalar(to, value{kind: "size", example: "SIZE", pattern: sizePattern}, func(s string) (int, error) {
		const want = "want a size above zero and below 2GiB with a unit, like 16KiB"
		n, err := parseSize(s, want)
		if err == nil && n > math.MaxInt32 {
			err = errors.New(want)
		}
		return int(n), err
	})
}
