package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	sizeForm  = regexp.MustCompile(`^([0-9]{1,15})\s*([A-Za-z]+)$`)
	sizeUnits = []struct {
		name  string
		bytes int64
	}{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"kB", 1e3},
	}
)

// bytes parses an amount of bytes: a whole number with a unit in upper or lower case. A number
// without a unit is refused.
//
// No library has these rules. go-humanize also accepts 64, 64M (as decimal), 1.5GiB and 1,000KiB;
// alecthomas/units 1.5GiB, -1GiB and 1GiB1MiB, but not "64 mib"; go-bytesize and datasize refuse
// MiB and read 1GB as 2^30 bytes. None formats 1000 as 1kB and 1 MiB as 1MiB.
func (f field) bytes(least, most int64) int64 {
	m := sizeForm.FindStringSubmatch(strings.TrimSpace(f.text))
	if m == nil {
		f.wrong(clip(f.text)+" is not an amount of bytes",
			"use a whole number with a unit: KiB, MiB, GiB or TiB, for example "+f.def)
		return 0
	}
	for _, u := range sizeUnits {
		if !strings.EqualFold(u.name, m[2]) {
			continue
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil || n < least/u.bytes || n > most/u.bytes || n*u.bytes < least ||
			n*u.bytes > most {
			f.wrong(clip(f.text)+" is out of range", fmt.Sprintf("use %s to %s", showBytes(least),
				showBytes(most)))
			return 0
		}
		return n * u.bytes
	}
	f.wrong(clip(m[2])+" is not a unit", "use KiB, MiB, GiB or TiB, for example "+f.def)
	return 0
}

// showBytes formats n as in a setting.
func showBytes(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
