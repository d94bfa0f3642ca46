package runtime

import (
	"math"
	"testing"
	"time"
)

// The longest time of a plan is never less than one of its parts, however long these are.
func TestTimesDoNotWrapAround(t *testing.T) {
	ages := extent{most: math.MaxInt64}
	for name, got := range map[string]time.Duration{
		"then":  ages.then(ages).then(extent{most: time.Second}).most,
		"times": extent{most: time.Second}.times(1_000_000_000_000_000).most,
	} {
		if got != math.MaxInt64 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := (extent{most: time.Second}).times(0).then(extent{most: time.Minute}).times(3).most; got != 3*time.Minute {
		t.Error(got)
	}
}
