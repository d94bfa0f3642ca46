package main

import (
	"strings"
	"testing"
	"time"

	"chaos/runtime/event"
)

// tellLines tells events, all at one time, on lines of a width.
func tellLines(width int, data ...event.Data) string {
	var out strings.Builder
	t := newTerminal(&out, true)
	t.width = width
	for _, d := range data {
		t.Event(event.Event{Mono: 1500 * time.Millisecond, Data: d})
	}
	t.Close()
	return out.String()
}

func TestWhatBelongsToANestedStepStandsWhereTheStepDoes(t *testing.T) {
	step := func(n, depth int, text string) event.StepStarted {
		return event.StepStarted{Step: n, Phase: event.During, Text: text, Depth: depth, Lifetime: "kernel"}
	}
	got := tellLines(noWidth,
		event.PhaseEntered{Phase: event.During, Title: "twice"},
		step(1, 0, "pause a"), event.StepEnded{Step: 1, Status: "done"},
		event.Heading{Phase: event.During, Text: "repeat 1 of 2"},
		step(2, 1, "pause b"), event.StepEnded{Step: 2, Status: "done"},
		event.StepStarted{Step: 3, Phase: event.During, Text: "log(\"x\")", Depth: 1}, event.Log{Text: "x"}, event.StepEnded{Step: 3, Status: "done"},
		event.FaultUndone{Step: 2, Text: "pause b", OK: true, Phase: event.During},
		event.PhaseEntered{Phase: event.Undo, Detail: "1 fault"},
		event.FaultUndone{Step: 1, Text: "pause a", OK: true, Phase: event.Undo},
	)
	want := `   1.5s  inject  twice
   1.5s    ⚡ pause a
   1.5s    ▸ repeat 1 of 2
   1.5s      ⚡ pause b
   1.5s        │ x
   1.5s      ↶ undone: pause b
   1.5s  undo  1 fault
   1.5s    ↶ undone: pause a
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLinesAreFoldedUnderTheirText(t *testing.T) {
	got := tellLines(59,
		event.StepStarted{Step: 1, Phase: event.During, Text: "-", Does: "delay what the load balancer sends to its two workers by 100 ms", Lifetime: "kernel", For: event.Seconds(time.Second)},
		event.StepEnded{Step: 1, Status: "done", Note: "2 addresses"},
		event.FaultUndone{Step: 1, Text: "a short one", Error: "an error that is too long to stand on one line of sixty columns", Phase: event.Undo},
		event.CheckJudged{Section: "hypothesis", Kind: "always", Text: "always home.status == 200 and home.latency < 250ms", Result: "refuted", At: event.Place{File: "game-day.chaos", Line: 49, Col: 12},
			Detail: "false in 12 of 40 evaluations", Operands: []event.Operand{{Text: "home.status", Value: "502"}, {Text: "home.latency", Value: "1.2s"}}},
		event.ExperimentEnded{Verdict: event.Refuted, Outcome: event.Completed, Restoration: event.Incomplete,
			Reason: "a reason that is told in more words than fit on a line of sixty columns",
			Left:   []event.Left{{Text: "delay", Error: "the table of rules could not be written back: permission denied", Manual: "nft delete table inet chaos_0123456789abcdef_with_a_long_name"}}},
	)
	want := `   1.5s    ⚡ delay what the load balancer sends to its two
              workers by 100 ms  2 addresses · for 1s
   1.5s    ✗ NOT UNDONE: a short one  0.0s
             an error that is too long to stand on one line
             of sixty columns

         hypothesis
           ✗ always home.status == 200 and home.latency <
             250ms  game-day.chaos:49:12
               false in 12 of 40 evaluations
               home.status  = 502
               home.latency = 1.2s

NOT RESTORED  refuted · completed · 0.0s
  a reason that is told in more words than fit on a line of
  sixty columns
  delay: the table of rules could not be written back:
         permission denied
    by hand: nft delete table inet chaos_0123456789abcdef_with_a_long_name

`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestACheckThatStandsThereIsNotToldAgain(t *testing.T) {
	failed := event.CheckJudged{Section: "steady", Kind: "expect", Text: "expect door.ok", Result: "refuted", At: event.Place{File: "a.chaos", Line: 11, Col: 12}, Operands: []event.Operand{{Text: "door.ok", Value: "false"}}}
	got := tellLines(noWidth,
		event.PhaseEntered{Phase: event.Before}, failed, event.PhaseEnded{Phase: event.Before, Detail: "expect door.ok (false in 1 of 1 evaluation)"},
		event.PhaseEntered{Phase: event.After}, event.PhaseEnded{Phase: event.After, Detail: "expect door.ok (false in 1 of 1 evaluation)"},
	)
	want := `   1.5s  before
   1.5s    ✗ expect door.ok  a.chaos:11:12
               door.ok = false
   1.5s    ✗ not steady
   1.5s  after  does the steady state come back?
   1.5s    ✗ not steady: expect door.ok (false in 1 of 1 evaluation)
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
