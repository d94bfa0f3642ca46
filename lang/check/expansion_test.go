package check

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"chaos/lang/diag"
)

// Definitions that use each other twice grow without end where they are expanded, so that is bounded, and said once.
func TestExpansionsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("action a0(x) { wait x }\nlet b0 = 1s\nprobe p0(x) = http.get(x)\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&b, "action a%d(x) { a%d(x); a%d(x) }\nlet b%d = b%d + b%d\nprobe p%d(x) = p%d(x + x)\n", i, i-1, i-1, i, i-1, i-1, i, i-1)
	}
	b.WriteString("experiment \"x\" {\n  probe q = p59(\"a\")\n  steady { expect q.ok and q.latency < b59 }\n  inject { a59(1s) }\n}\n")
	begun := time.Now()
	_, list := parseAndCheck(t, diag.NewSource("deep.chaos", b.String()))
	if len(list) != 1 || list[0].Code != diag.TooDeep {
		t.Errorf("%d messages: %v", len(list), list[:min(len(list), 3)])
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %s", took)
	}
}
