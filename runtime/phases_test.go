package runtime

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaos/runtime/event"
)

const calm = `probe p = fake.switch("a"); steady { expect p.level >= 0 and sure }; hypothesis { expect before.sure.count > 0 }; `

// Each transition of "Phases of a run", and each way for inject to end: what was broken is undone, rollback runs, in order.
func TestPhases(t *testing.T) {
	for _, c := range []struct {
		name, script string
		exit         int
		log          []string
		opts         []option
	}{
		{"faults are undone newest first", calm + `inject { fake.break("a"); wait 1s; fake.break("b"); fake.break("c") }`, 0,
			[]string{"0s broke a", "1s broke b", "1s broke c", "1s undoing c", "1s undoing b", "1s undoing a"}, nil},
		{"for holds and undoes before the next statement", calm + `inject { fake.break("a") for 2s; fake.break("b") for 1s }`, 0,
			[]string{"0s broke a", "2s undoing a", "2s broke b", "3s undoing b"}, nil},
		{"each pass of repeat is a scope", calm + `inject { repeat 2 { fake.break("a"); wait 1s } }`, 0,
			[]string{"0s broke a", "1s undoing a", "1s broke a", "2s undoing a"}, nil},
		{"repeat over a list binds", calm + `inject { repeat n in ["a", "b"] { fake.break(n) for 1s } }`, 0,
			[]string{"0s broke a", "1s undoing a", "1s broke b", "2s undoing b"}, nil},
		{"do is a scope, when is none", calm + `inject { do "first" { fake.break("a"); wait 1s }; when true { fake.break("b") }; wait 1s }`, 0,
			[]string{"0s broke a", "1s undoing a", "1s broke b", "2s undoing b"}, nil},
		{"when looks at the world after the latest step", calm + `inject { fake.break("a") for 1s; when p.on { fake.break("b") for 1s } else { fake.break("c") for 1s } }`, 0,
			[]string{"0s broke a", "1s undoing a", "2s broke b", "3s undoing b"}, nil},
		{"an experiment that claims nothing is not judged", `inject { fake.break("a") for 1s }`, 0, []string{"0s broke a", "1s undoing a"}, nil},
		{"a sample knows when its phase began, each try of a window anew", `probe p = fake.switch("a") every 100ms
			steady { window: 1s; settle: 10s; expect p.age > 1500ms and p.phase < 1200ms }
			hypothesis { expect during.p.phase.min < 200ms and during.p.phase.max > 2900ms and during.p.phase.max < 3200ms; expect after.p.phase.max < 1200ms }
			inject { fake.break("a") for 3s }`, 0, []string{"2.4s broke a", "5.4s undoing a"}, nil},
		{"else", calm + `inject { when p.level > 1 { fake.break("a") } else { fake.break("b") for 1s } }`, 0,
			[]string{"0s broke b", "1s undoing b"}, nil},
		{"parallel overlaps, and its faults end with the section", calm + `inject { parallel { fake.break("a") for 2s; do { wait 1s; fake.break("b") for 2s } } }`, 0,
			[]string{"0s broke a", "1s broke b", "2s undoing a", "3s undoing b"}, nil},
		{"a failing branch cancels the others", calm + `inject { parallel { fake.break("a") for 1m; do { wait 1s; fake.destroy("fails") } } }`, 5,
			[]string{"0s broke a", "1s undoing a"}, nil},
		{"a failed step skips the rest, undo and rollback follow", calm + `inject { fake.break("a"); fake.destroy("fails"); fake.break("b") }; rollback { fake.repair("c") }`, 5,
			[]string{"0s broke a", "0s undoing a", "0s repaired c"}, nil},
		{"an act that fails half way is undone", calm + `inject { fake.break("a", act: "fail") }`, 5,
			[]string{"0s undoing a"}, nil},
		{"a panic in an action is caught, named, undone", calm + `inject { fake.break("a"); fake.break("b", act: "panic"); fake.break("c") }`, 5,
			[]string{"0s broke a", "0s undoing b", "0s undoing a"}, nil},
		{"a wait that is met", calm + `inject { fake.break("a") for 1s; wait until p.on within 10s; fake.destroy("b") }`, 0,
			[]string{"0s broke a", "1s undoing a", "2s destroyed b"}, nil},
		{"a wait that is not met in time fails", calm + `inject { fake.break("a"); wait until p.on within 3s; fake.destroy("b") }`, 5,
			[]string{"0s broke a", "3s undoing a"}, nil},
		{"a wait looks only at new samples", calm + `inject { fake.break("a"); wait until p.on within 500ms }`, 5,
			[]string{"0s broke a", "0.5s undoing a"}, nil},
		{"when without data is a failed step", `probe p = fake.pattern("1x"); steady { expect sure }; hypothesis { expect before.sure.count > 0 }; inject { fake.break("a") for 2s; when p { fake.destroy("b") } }`, 5,
			[]string{"0s broke a", "2s undoing a"}, nil},
		{"in rollback it takes the first branch", `probe p = fake.pattern("1x"); steady { expect sure }; hypothesis { expect before.sure.count > 0 }; inject { fake.break("a") for 2s }; rollback { when p { fake.repair("b") } else { fake.repair("c") } }`, 0,
			[]string{"0s broke a", "2s undoing a", "3s repaired b"}, nil},
		{"unsteady: nothing is injected, rollback does not run, setup is undone", `probe p = fake.pattern("0"); setup { fake.break("a") }; steady { expect p }; hypothesis { expect before.sure.count > 0 }; inject { fake.break("b") }; rollback { fake.repair("c") }`, 3,
			[]string{"0s broke a", "0s undoing a"}, nil},
		{"a failing setup: inject and rollback do not run", calm + `setup { fake.break("b"); fake.destroy("fails") }; inject { fake.break("a") }; rollback { fake.repair("c") }`, 5,
			[]string{"0s broke b", "0s undoing b"}, nil},
		{"a precondition", calm + `setup { expect p.level > 1 }; inject { fake.break("a") }; rollback { fake.repair("c") }`, 3, nil, nil},
		{"setup is undone last", calm + `setup { fake.break("b") }; inject { fake.break("a") }; rollback { fake.repair("c") }`, 0,
			[]string{"0s broke b", "0s broke a", "0s undoing a", "0s repaired c", "1s undoing b"}, nil},
		{"the deadline aborts", calm + `deadline: 3s; inject { fake.break("a"); wait 1m }; rollback { fake.repair("c") }`, 4,
			[]string{"0s broke a", "3s undoing a", "3s repaired c"}, nil},
		{"a signal in a wait", calm + `inject { fake.break("a"); wait 1m; fake.break("b") }; rollback { fake.repair("c") }`, 4,
			[]string{"0s broke a", "2.5s undoing a", "2.5s repaired c"}, []option{at(2500*time.Millisecond, interrupt)}},
		{"a signal inside a step that does not listen: the next one never starts", calm + `inject { fake.break("a", act: "late"); fake.break("b") }`, 4,
			[]string{"5s broke a", "5s undoing a"}, []option{at(2500*time.Millisecond, interrupt)}},
		{"signals do not cut rollback short", calm + `inject { fake.break("a") }; rollback { fake.repair("slow"); fake.repair("c") }`, 4,
			[]string{"0s broke a", "0s undoing a", "3s repaired slow", "3s repaired c"}, []option{at(time.Second, interrupt), at(2*time.Second, interrupt)}},
		{"a rollback step that fails does not stop the others", calm + `inject { fake.break("a") }; rollback { fake.repair("fails"); fake.repair("c") }`, 6,
			[]string{"0s broke a", "0s undoing a", "0s repaired c"}, nil},
		{"steps of rollback are final", calm + `inject { fake.break("a") }; rollback { fake.break("b") }`, 0,
			[]string{"0s broke a", "0s undoing a", "0s broke b"}, nil},
		{"an undo that fails is tried again, named, and stops nobody", calm + `inject { fake.break("a"); fake.break("b", undo: "fail"); fake.break("c") }`, 6,
			[]string{"0s broke a", "0s broke b", "0s broke c", "0s undoing c", "0s undoing b", "0.2s undoing b", "0.6s undoing b", "0.6s undoing a"}, nil},
		{"an undo that hangs stops nobody", calm + `inject { fake.break("a"); fake.break("b", undo: "hang") }`, 6,
			[]string{"0s broke a", "0s broke b", "0s undoing b", "2.1s undoing a"}, nil},
		{"an undo that panics stops nobody", calm + `inject { fake.break("a"); fake.break("b", undo: "panic") }`, 6,
			[]string{"0s broke a", "0s broke b", "0s undoing b", "0.2s undoing b", "0.6s undoing b", "0.6s undoing a"}, nil},
		{"an undo that says it worked is not believed", calm + `inject { fake.break("a", undo: "stays") }`, 6,
			[]string{"0s broke a", "0s undoing a", "0.2s undoing a", "0.6s undoing a"}, nil},
		{"a value that somebody else changed is left alone", calm + `inject { fake.break("a", undo: "foreign") }`, 0,
			[]string{"0s broke a", "0s undoing a"}, nil},
		{"a timed fault that cannot be undone stops inject", calm + `inject { fake.break("a", undo: "fail") for 1s; fake.break("b") }`, 6,
			[]string{"0s broke a", "1s undoing a", "1.2s undoing a", "1.6s undoing a"}, nil},
		{"a fault without effect cannot end held", calm + `inject { fake.break("a", effect: "no") for 1s }`, 5,
			[]string{"0s broke a", "1s undoing a"}, nil},
		{"a fault that ended before its undo cannot either", calm + `inject { fake.break("a", effect: "ended") for 1s }`, 5,
			[]string{"0s broke a", "1s undoing a"}, nil},
		{"a last look that panics leaves it unknown, and the undo comes", calm + `inject { fake.break("a", effect: "panic") for 1s }`, 0,
			[]string{"0s broke a", "1s undoing a"}, nil},
		{"an unknown effect can", calm + `inject { fake.break("a", effect: "unknown") for 1s }`, 0,
			[]string{"0s broke a", "1s undoing a"}, nil},
		{"an effect that hangs is unknown", calm + `inject { fake.break("a", effect: "hang") for 1s }`, 0,
			[]string{"0s broke a", "6s undoing a"}, nil},
		{"the steady state does not come back", `probe p = fake.switch("a"); recovery: 3s; steady { expect p.on }; hypothesis { expect before.sure.count > 0 }; inject { fake.destroy("a") }`, 6,
			[]string{"0s destroyed a"}, nil},
		{"it comes back by rollback", `probe p = fake.switch("a"); recovery: 3s; steady { expect p.on }; hypothesis { expect before.sure.count > 0 }; inject { fake.destroy("a") }; rollback { when not p.on { fake.repair("a") } }`, 0,
			[]string{"0s destroyed a", "1s repaired a"}, nil},
		{"an observation", `probe p = fake.switch("a"); steady { expect p.on }`, 0, nil, nil},
		{"a rehearsal injects nothing", calm + `inject { fake.break("a") }; rollback { fake.repair("c") }`, 0, nil, []option{func(_ *story, o *Options) { o.Rehearse = true }}},
		{"a selector that matches nothing stops before anything runs", calm + `inject { fake.break("a"); fake.break("nowhere") }`, 2, nil, nil},
		{"a missing tool stops before anything runs", calm + `setup { fake.break("b") }; inject { when false { fake.break("tool") } }`, 2, nil, nil},
		{"with a setup, what is still missing after it fails", calm + `setup { fake.break("b") }; inject { fake.break("nowhere") }`, 5, []string{"0s broke b", "0s undoing b"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, c.script, func(s *story) {
				s.wantExit(c.exit)
				s.wantLog(c.log...)
			}, c.opts...)
		})
	}
}

func TestWhatIsLeftIsNamedWithACommand(t *testing.T) {
	play(t, calm+`inject { fake.break("b", undo: "fail") }`, func(s *story) {
		e := s.ended()
		if len(e.Left) != 1 || e.Left[0].Manual != "turn on b" || !strings.Contains(e.Left[0].Error, "the undo failed") {
			t.Errorf("left: %+v", e.Left)
		}
	})
}

func TestAPanicIsNamed(t *testing.T) {
	play(t, calm+`inject { fake.break("b", act: "panic") }`, func(s *story) {
		if e := s.ended(); !strings.Contains(e.Reason, "`fake.break` has a defect: an action of the test") {
			t.Errorf("reason: %s", e.Reason)
		}
	})
}

func TestFurtherSignalsTellWhatIsLeft(t *testing.T) {
	script := calm + `inject { fake.break("a"); fake.break("b", undo: "hang"); wait 1m }`
	play(t, script, func(s *story) {
		s.wantExit(6)
		found := false
		for _, n := range all[event.Note](s) {
			found = found || strings.Contains(n.Text, "still undoing") && strings.Contains(n.Text, `fake.break("b"`)
		}
		if !found {
			t.Error("the second signal did not tell what is left")
		}
	}, at(time.Second, interrupt), at(2*time.Second, interrupt))
}

func TestSeveralExperiments(t *testing.T) {
	two := func(first, between, second string) string {
		return "probe g = fake.switch(\"a\")\n" + between + "\nexperiment \"one\" { probe sure = fake.pattern(\"1\"); steady { expect sure }; hypothesis { expect before.sure.count > 0 }; " + first + " }\nexperiment \"two\" { probe sure = fake.pattern(\"1\"); steady { expect sure }; hypothesis { expect before.sure.count > 0 }; " + second + " }"
	}
	second := `inject { fake.break("c") for 1s }`
	for _, c := range []struct {
		name, script string
		exit         int
		started      int
		opts         []option
	}{
		{"both run", two(`inject { fake.break("b") for 1s }`, "", second), 0, 2, nil},
		{"after a failure the next one runs", two(`inject { fake.destroy("fails") }`, "", second), 5, 2, nil},
		{"after a 6 none does", two(`inject { fake.break("b", undo: "fail") }`, "", second), 6, 1, nil},
		{"after a signal none does", two(`inject { wait 1m }`, "", second), 4, 1, []option{at(time.Second, interrupt)}},
		{"after a guard of the file none does", two(`inject { fake.break("a"); wait 5s }`, "abort when not g.on", second), 4, 1, nil},
		{"after a guard of its own the next one does", two(`abort when not g.on; inject { fake.break("a"); wait 5s }`, "", second), 4, 2, nil},
		{"nothing runs when the second cannot", two(`inject { fake.break("b") }`, "", `inject { fake.break("nowhere") }`), 2, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, c.script, func(s *story) {
				s.wantExit(c.exit)
				if n := len(all[event.ExperimentStarted](s)); n != c.started {
					t.Errorf("%d experiments started, want %d", n, c.started)
				}
			}, c.opts...)
		})
	}
}

func TestExitCodesHaveAPrecedence(t *testing.T) {
	order := []int{6, 4, 1, 5, 3, 2, 0}
	for i, a := range order {
		for _, b := range order[i:] {
			if worse(a, b) != a || worse(b, a) != a {
				t.Errorf("of %d and %d the first counts", a, b)
			}
		}
	}
	for _, c := range []struct {
		out       outcome
		fruitless bool
		want      int
	}{
		{outcome{verdict: event.Held, outcome: event.Completed, restoration: event.Clean}, false, 0},
		{outcome{verdict: event.Refuted, outcome: event.Completed, restoration: event.Clean}, false, 1},
		{outcome{verdict: event.Refuted, outcome: event.Failed, restoration: event.Clean}, false, 1},
		{outcome{verdict: event.Refuted, outcome: event.Aborted, restoration: event.Clean}, false, 4},
		{outcome{verdict: event.Refuted, outcome: event.Aborted, restoration: event.Incomplete}, false, 6},
		{outcome{verdict: event.Inconclusive, outcome: event.Completed, restoration: event.Clean}, false, 5},
		{outcome{verdict: event.Held, outcome: event.Completed, restoration: event.Clean}, true, 5},
		{outcome{verdict: event.NotJudged, outcome: event.Unsteady, restoration: event.Clean}, false, 3},
		{outcome{verdict: event.NotJudged, outcome: event.Unfit, restoration: event.Clean}, false, 2},
		{outcome{verdict: event.NotJudged, outcome: event.Unsteady, restoration: event.Incomplete}, false, 6},
	} {
		if got := exitCode(c.out, c.fruitless); got != c.want {
			t.Errorf("exitCode(%+v, %v) = %d, want %d", c.out, c.fruitless, got, c.want)
		}
	}
}

// The write-ahead rule: in the journal on disk, the intention stands before anything that the act did.
func TestTheJournalIsWrittenAhead(t *testing.T) {
	var dir string
	play(t, calm+`inject { fake.break("b") for 1s }`, func(s *story) {
		s.wantExit(0)
		dir = all[event.RunEnded](s)[0].Dir
		f, err := os.Open(filepath.Join(dir, event.JournalName))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var states []string
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			var e struct {
				Kind string
				Data struct{ State string }
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatal(err)
			}
			switch e.Kind {
			case "undo_intended":
				states = append(states, "intended")
			case "undo_state":
				states = append(states, e.Data.State)
			}
		}
		if got := strings.Join(states, " "); got != "intended applied reverting reverted" {
			t.Errorf("the record went through %s", got)
		}
		for path, want := range map[string]os.FileMode{dir: 0o700 | os.ModeDir, filepath.Join(dir, event.JournalName): 0o600} {
			if info, err := os.Stat(path); err != nil || info.Mode() != want {
				t.Errorf("%s: %v, want %v", path, info.Mode(), want)
			}
		}
	})
}

func TestAnUnwritableRunFolderStopsTheRunBeforeItStarts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o600)
	play(t, calm+`inject { fake.break("b") }`, func(s *story) {
		s.wantExit(2)
		s.wantLog()
		var unfit *UnfitError
		if !errors.As(s.err, &unfit) || !strings.Contains(unfit.Error(), "--runs DIR") {
			t.Errorf("error: %v", s.err)
		}
	}, func(_ *story, o *Options) { o.RunsDir = file })
}

func TestAStepWithoutAValueNamesWhatHasNoData(t *testing.T) {
	play(t, `probe p = fake.pattern("1x"); steady { expect sure }; inject { fake.break("a"); wait 2s; fake.destroy("it says ${p}, and the target is ${1 + 1}") }`, func(s *story) {
		s.wantExit(5)
		steps := all[event.StepEnded](s)
		if got := steps[len(steps)-1].Error; !strings.HasPrefix(got, "`p` has no value: ") {
			t.Errorf("the step says %q", got)
		}
	})
}
