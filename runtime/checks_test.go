package runtime

import (
	"strings"
	"testing"
	"time"

	"chaos/runtime/event"
)

// The rows of the tables "Checks" and "Statements" in docs/language.md: what each check amounts to.
func TestChecks(t *testing.T) {
	for _, c := range []struct {
		name   string
		script string
		exit   int
		check  string // a part of the judged check's text, "" for none
		detail string // a part of its detail
	}{
		// steady
		{"steady holds on one sample", `probe p = fake.pattern("10"); steady { expect p }`, 0, "", ""},
		{"steady false is unsteady", `probe p = fake.pattern("0"); steady { expect p }`, 3, "", ""},
		{"steady without data is unsteady", `probe p = fake.pattern("x"); steady { expect p }`, 3, "", ""},
		{"one false sample in the window is unsteady", `probe p = fake.pattern("11101"); steady { window: 5s; expect p }`, 3, "", ""},
		{"a false sample behind the window does not count", `probe p = fake.pattern("1110"); steady { window: 2s; expect p }`, 0, "", ""},
		{"tolerate in steady counts evaluations", `probe p = fake.pattern("11101"); steady { window: 5s; expect p tolerate 20% }`, 0, "", ""},
		{"settle retries the window", `probe p = fake.pattern("0001"); steady { window: 2s; settle: 10s; expect p }`, 0, "", ""},
		{"settle ends", `probe p = fake.pattern("0"); steady { settle: 3s; expect p }`, 3, "", ""},
		// always and never
		{"always true", `probe p = fake.pattern("1"); steady { expect sure }; hypothesis { always p }; inject { fake.destroy("a"); wait 3s }`, 0, "always p", "evaluations"},
		{"always false once", `probe p = fake.pattern("11101"); steady { expect sure }; hypothesis { always p }; inject { fake.destroy("a"); wait 6s }`, 1, "always p", "false in 1 of"},
		{"always with no data", `probe p = fake.pattern("11x1"); steady { expect sure }; hypothesis { always p }; inject { fake.destroy("a"); wait 6s }`, 5, "always p", "no data in 1 of"},
		{"always false beats no data", `probe p = fake.pattern("1x01"); steady { expect sure }; hypothesis { always p }; inject { fake.destroy("a"); wait 6s }`, 1, "always p", "false in 1 of"},
		{"tolerated", `probe p = fake.pattern("11101"); steady { expect sure }; hypothesis { always p tolerate 20% }; inject { fake.destroy("a"); wait 6s }`, 0, "always p", "tolerated"},
		{"no data is tolerated too", `probe p = fake.pattern("11x1"); steady { expect sure }; hypothesis { always p tolerate 20% }; inject { fake.destroy("a"); wait 6s }`, 0, "always p", ""},
		{"never", `probe p = fake.pattern("0"); hypothesis { never p }; steady { expect sure }; inject { fake.destroy("a"); wait 2s }`, 0, "never p", ""},
		{"never, once", `probe p = fake.pattern("0010"); hypothesis { never p }; steady { expect sure }; inject { fake.destroy("a"); wait 4s }`, 1, "never p", ""},
		{"a failing probe makes never inconclusive", `probe p = fake.pattern("0x0"); hypothesis { never p }; steady { expect sure }; inject { fake.destroy("a"); wait 4s }`, 5, "never p", "the probe failed"},
		{"an outage does not hide behind a slow probe", `probe p = fake.pattern("1001") every 100ms; probe q = fake.pattern("1") every 5s; steady { expect sure }; hypothesis { always p and q }; inject { fake.destroy("a"); wait 1s }`, 1, "always p and q", "false in 2 of"},
		{"or makes up for no data", `probe p = fake.pattern("1x"); probe q = fake.pattern("1"); hypothesis { always p or q }; steady { expect sure }; inject { fake.destroy("a"); wait 4s }`, 0, "always p or q", ""},
		// eventually
		{"never exercised", `probe p = fake.pattern("1"); hypothesis { eventually p within 2s }; steady { expect sure }; inject { fake.destroy("a"); wait 3s }`, 0, "eventually", "never exercised"},
		{"back in time", `probe p = fake.pattern("11001"); hypothesis { eventually p within 2s }; steady { expect sure }; inject { fake.destroy("a"); wait 6s }`, 0, "eventually", "false once, back within 2s"},
		{"back too late", `probe p = fake.pattern("110001"); hypothesis { eventually p within 2s }; steady { expect sure }; inject { fake.destroy("a"); wait 6s }`, 1, "eventually", "false for 3s, longer than 2s"},
		{"never back", `probe p = fake.pattern("110"); hypothesis { eventually p within 2s }; steady { expect sure }; inject { fake.destroy("a"); wait 9s }`, 1, "eventually", "still false"},
		{"settle gives the rest of the time", `probe p = fake.pattern("110001"); hypothesis { eventually p within 4s }; steady { expect sure }; inject { fake.destroy("a"); wait 2s }`, 0, "eventually", "back within 3s"},
		{"a later excursion counts too", `probe p = fake.pattern("101110001"); hypothesis { eventually p within 2s }; steady { expect sure }; inject { fake.destroy("a"); wait 9s }`, 1, "eventually", "longer than 2s"},
		{"with for it must last", `probe p = fake.pattern("110101111"); hypothesis { eventually p within 3s for 2s }; steady { expect sure }; inject { fake.destroy("a"); wait 9s }`, 0, "eventually", "back within 3s"},
		// expect at the end, and summaries
		{"expect is judged once, at the end", `probe p = fake.pattern("100011"); steady { expect sure }; hypothesis { expect p }; inject { fake.destroy("a"); wait 4s }`, 0, "expect p", ""},
		{"expect false", `probe p = fake.pattern("11110"); steady { expect sure }; hypothesis { expect p }; inject { fake.destroy("a"); wait 4s }`, 1, "expect p", ""},
		{"a summary of during", `probe p = fake.pattern("1100"); steady { expect sure }; hypothesis { expect during.p.ratio == 25% }; inject { fake.destroy("a"); wait 4s }`, 0, "ratio", ""},
		{"a summary of before", `probe p = fake.pattern("1110"); steady { window: 3s; settle: 1s; expect sure }; hypothesis { expect before.p.count >= 3 and before.p.ratio > 70% }; inject { fake.destroy("a"); wait 3s }`, 0, "before", ""},
		{"a summary of after", `probe p = fake.pattern("111001"); steady { expect p }; hypothesis { expect after.p.ratio == 1 }; inject { fake.destroy("a"); wait 4s }`, 0, "after", ""},
		{"windows merge exactly", `probe s = fake.stream("a"); steady { expect sure }; hypothesis { expect during.s.errors == 0 and during.s.ticks > 250 and during.s.ticks < 600 }; inject { wait 3500ms; fake.destroy("b"); wait 3s }`, 0, "ticks", ""},
		{"errors show in the window of the injection", `probe s = fake.stream("a"); steady { expect s.errors == 0 }; hypothesis { expect during.s.errors == 0 and before.s.errors == 0 }; inject { fake.break("a") for 50ms }`, 1, "errors", ""},
		// steady as a hypothesis
		{"no hypothesis is always steady", `probe p = fake.pattern("1101"); steady { expect p }; inject { fake.destroy("a"); wait 4s }`, 1, "always p", ""},
		{"always steady", `probe p = fake.pattern("1101"); steady { expect p }; hypothesis { always steady }; inject { fake.destroy("a"); wait 4s }`, 1, "always p", ""},
		{"always steady keeps the tolerance", `probe p = fake.pattern("1101"); steady { expect p tolerate 30% }; hypothesis { always steady }; inject { fake.destroy("a"); wait 6s }`, 0, "always p", "tolerated"},
		{"stop_when_refuted stops", `probe p = fake.pattern("10"); steady { expect sure }; hypothesis { stop_when_refuted: true; always p }; inject { fake.destroy("a"); wait 1m; fake.destroy("fails") }`, 1, "always p", ""},
		// lets
		{"a let is evaluated where it is used", `probe p = fake.switch("a"); let ok = p.on; steady { expect ok }; hypothesis { always not ok }; inject { fake.break("a"); wait 2s }`, 0, "not ok", ""},
		{"a let in inject is a value", `probe p = fake.switch("a"); steady { expect p.on }; hypothesis { expect before.sure.count > 0 }; inject { let was = p.level; fake.break("a"); wait 2s; when was == 1 { fake.destroy("b") } }`, 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, c.script, func(s *story) {
				s.wantExit(c.exit)
				if c.check == "" {
					return
				}
				if got := s.checkResult(c.check); !strings.Contains(got.Detail, c.detail) {
					t.Errorf("detail %q, want %q in it", got.Detail, c.detail)
				}
			})
		})
	}
}

func TestAFailedCheckShowsItsOperands(t *testing.T) {
	play(t, `probe p = fake.switch("a"); steady { expect p.on }; hypothesis { always p.level > 0.5 and p.age < 1h because "why not" }; inject { fake.break("a") for 3s }`, func(s *story) {
		s.wantExit(1)
		c := s.checkResult("p.level")
		if len(c.Operands) != 2 || c.Operands[0] != (event.Operand{Text: "p.level", Value: "0"}) || c.Because != "why not" || c.At.Line != 2 {
			t.Errorf("%+v", c)
		}
	})
}

func TestGuards(t *testing.T) {
	steady := `steady { expect sure }; hypothesis { expect before.sure.count > 0 }; `
	for _, c := range []struct {
		name, script string
		exit         int
		log          []string
	}{
		{"a guard aborts at once and everything is undone", `probe p = fake.pattern("110"); abort when not p; ` + steady + `inject { fake.break("a"); wait 1m; fake.destroy("b") }`, 4,
			[]string{"0s broke a", "2s undoing a"}},
		{"a guard trips inside a step", `probe p = fake.pattern("110"); abort when not p; ` + steady + `inject { fake.break("a", act: "slow"); fake.destroy("b") }`, 4,
			[]string{"0s breaking a", "2s undoing a"}},
		{"with for it must last", `probe p = fake.pattern("1001000001"); abort when not p for 3s; ` + steady + `inject { fake.break("a"); wait 1m }`, 4,
			[]string{"0s broke a", "7s undoing a"}},
		{"no data counts as true", `probe p = fake.pattern("11x"); abort when not p; ` + steady + `inject { fake.break("a"); wait 1m }`, 4,
			[]string{"0s broke a", "2s undoing a"}},
		{"no data with for must last", `probe p = fake.pattern("11x1xxxx"); abort when not p for 2s; ` + steady + `inject { fake.break("a"); wait 1m }`, 4,
			[]string{"0s broke a", "6s undoing a"}},
		{"a hanging probe trips the guard", `probe p = fake.pattern("1h"); abort when not p; ` + steady + `inject { fake.break("a"); wait 1m }`, 4,
			[]string{"0s broke a", "1.7s undoing a"}},
		{"a panicking probe trips the guard", `probe p = fake.pattern("1p"); abort when not p; ` + steady + `inject { fake.break("a"); wait 1m }`, 4,
			[]string{"0s broke a", "1s undoing a"}},
		{"true already is unsteady", `probe p = fake.pattern("0"); abort when not p; ` + steady + `inject { fake.break("a") }`, 3, nil},
		{"one without data stops the run before it starts", `probe p = fake.pattern("x"); abort when not p; ` + steady + `inject { fake.break("a") }`, 2, nil},
		{"a guard that never trips", `probe p = fake.pattern("1"); abort when not p; ` + steady + `inject { fake.break("a") for 3s }`, 0,
			[]string{"0s broke a", "3s undoing a"}},
		{"a guard in inject", `probe p = fake.pattern("110"); ` + steady + `inject { abort when not p; fake.break("a"); wait 1m }`, 4,
			[]string{"0s broke a", "2s undoing a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, c.script, func(s *story) {
				s.wantExit(c.exit)
				s.wantLog(c.log...)
			})
		})
	}
}

func TestSamplesAreOnScheduleAndNeverOverlap(t *testing.T) {
	play(t, `probe p = fake.pattern("111s1", timeout: 1s) every 100ms; steady { expect sure }; hypothesis { always p }; inject { fake.destroy("a"); wait 2s }`, func(s *story) {
		s.wantExit(0)
		var last time.Duration = -1
		skipped := 0
		for _, e := range all[event.Sample](s) {
			start := time.Duration(e.Start)
			if start%(100*time.Millisecond) != 0 {
				t.Errorf("a sample started at %s, off its schedule", start)
			}
			if e.Probe != "p" {
				continue
			}
			if start <= last {
				t.Errorf("a sample started at %s, before the one before had ended at %s", start, last)
			}
			last = start + time.Duration(e.Took)
			skipped += e.Skipped
		}
		if skipped != 3 { // 300 ms in a 100 ms schedule: due at 400, 500 and 600 while it was still busy
			t.Errorf("%d ticks were skipped and counted, want 3", skipped)
		}
	})
}

func TestStaleSamplesAreNoData(t *testing.T) {
	// p answers once and then hangs for good; q goes on. What p said is no data after three periods and its timeout.
	play(t, `probe p = fake.pattern("11h"); probe q = fake.pattern("1") every 100ms; steady { expect sure }; hypothesis { always p and q }; inject { fake.destroy("a"); wait 10s }`, func(s *story) {
		s.wantExit(5)
	})
}

func TestDuringSeesTheWorldAfterTheLastStep(t *testing.T) {
	// Nothing waits after the step, and still the slow probe gets a sample while the fault is there.
	play(t, `probe p = fake.switch("a") every 5s; steady { expect p.on }; hypothesis { always p.on }; inject { fake.break("a") }`, func(s *story) {
		s.wantExit(1)
		s.wantLog("0s broke a", "5s undoing a")
	})
}
