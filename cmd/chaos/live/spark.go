package live

import (
	"math"
	"strings"
)

// bars leave a little room above the highest, so that lines below each other do not run together.
var bars = []rune("▁▂▃▄▅▆▇")

// Gap is drawn where there is no data; the number for it is NaN.
const Gap = '·'

// Spark draws numbers as bars, from zero (or the lowest, below zero) to the highest.
func Spark(list []float64) string {
	low, high := 0.0, 0.0
	for _, n := range list {
		if !math.IsNaN(n) {
			low, high = min(low, n), max(high, n)
		}
	}
	var b strings.Builder
	for _, n := range list {
		switch {
		case math.IsNaN(n):
			b.WriteRune(Gap)
		case high <= low:
			b.WriteRune(bars[0])
		default:
			b.WriteRune(bars[min(int((n-low)/(high-low)*float64(len(bars))), len(bars)-1)])
		}
	}
	return b.String()
}
