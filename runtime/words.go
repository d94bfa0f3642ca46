package runtime

import (
	"fmt"
	"strings"
	"time"

	"chaos/lang/diag"
	"chaos/lang/value"
	"chaos/runtime/event"
)

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func short(d time.Duration) string { return value.DurationOf(d).Short() }

func quoteAll(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

func place(s diag.Span) event.Place {
	return event.Place{File: s.File, Line: s.Start.Line, Col: s.Start.Col}
}
