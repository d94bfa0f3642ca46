package token

import (
	"slices"
	"strings"

	"chaos/lang/value"
)

// unitWords are how people write units elsewhere, and the suffix here.
var unitWords = func() map[string]string {
	out := map[string]string{}
	for unit, words := range map[string]string{
		"ns": "nanos nanosec nanosecond nanoseconds", "us": "usec usecs micros microsec microsecond microseconds",
		"ms": "msec msecs millis millisec millisecs millisecond milliseconds", "s": "sec secs second seconds",
		"m": "min mins minute minutes", "h": "hr hrs hour hours", "d": "day days", "%": "percent pct",
		"kB": "k kb kbyte kbytes kilobytes", "MB": "mb mbyte mbytes megabytes", "GB": "g gb gbyte gbytes gigabytes", "TB": "tb",
		"KiB": "kib ki", "MiB": "mib mi", "GiB": "gib gi", "TiB": "tib", "B": "byte bytes",
		"kbit/s": "kbps kbit", "Mbit/s": "mbps mbit", "Gbit/s": "gbps gbit", "bit/s": "bps", "/s": "rps qps tps",
	} {
		for _, w := range strings.Fields(words) {
			out[w] = unit
		}
	}
	return out
}()

// UnitWord is the suffix that a word most likely stands for, such as `s` for `seconds`. `MBps` are bytes, `Mbps` bits.
func UnitWord(word string) (suffix string, ok bool) {
	if size, bytes := strings.CutSuffix(word, "Bps"); bytes {
		if size == "K" {
			size = "k"
		}
		suffix = size + "B/s"
		if slices.Contains(value.Suffixes(), suffix) {
			return suffix, true
		}
	}
	suffix, ok = unitWords[strings.ToLower(word)]
	return suffix, ok
}
