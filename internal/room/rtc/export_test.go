package rtc

import "time"

// Compare makes messages carry the time of reading instead of that of their arrival. onArrival gets
// the arrival of each message, zero if it is not known; nil if it is not to be found out for that.
func (a *API) Compare(readTimes bool, onArrival func(time.Time)) {
	a.compare = comparison{readTimes, onArrival}
}
