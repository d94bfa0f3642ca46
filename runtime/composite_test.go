package runtime

import (
	"strings"
	"testing"
	"time"

	"chaos/runtime/event"
)

const own = `
action hurt(what, pause = 1s) { fake.break(what); wait pause }
action both(x, y) { hurt(x); hurt(y) }
action timed(x) { fake.break(x) for 2s }
action twice(x) { repeat 2 { fake.break(x); wait 1s } }
action ruin(x) { fake.destroy(x) }
action late(x) { fake.break(x, act: "late") }
action named(x) { fake.break(x) as it; let again = it; fake.repair(again) }
action nested(p) { when p == "a" { hurt(p) for 1s } else { hurt("c") for 1s } }
action half(x) { hurt(x); fake.break("b", act: "fail") }
action stubborn(x) { fake.break(x, undo: "fail") }
experiment "test" { probe sure = fake.pattern("1")
probe p = fake.switch("a"); steady { expect p.level >= 0 and sure }; hypothesis { expect before.sure.count > 0 };
`

// A composite action opens no scope; `for` on it holds all its faults and undoes them together.
func TestCompositeActions(t *testing.T) {
	for _, c := range []struct {
		name, script string
		exit         int
		log          []string
		opts         []option
	}{
		{"its faults last to the end of the caller's scope", `inject { hurt("a"); fake.break("b"); wait 1s }`, 0,
			[]string{"0s broke a", "1s broke b", "2s undoing b", "2s undoing a"}, nil},
		{"a do around it ends them", `inject { do { hurt("a") }; fake.break("b"); wait 1s }`, 0,
			[]string{"0s broke a", "1s undoing a", "1s broke b", "2s undoing b"}, nil},
		{"for holds all of them, after the last step, and undoes them newest first", `inject { both("a", "b") for 5s; fake.break("c") for 1s }`, 0,
			[]string{"0s broke a", "1s broke b", "7s undoing b", "7s undoing a", "7s broke c", "8s undoing c"}, nil},
		{"a for inside ends earlier", `inject { timed("a"); wait 1s }`, 0,
			[]string{"0s broke a", "2s undoing a"}, nil},
		{"each pass of a repeat inside is a scope", `inject { twice("a") }`, 0,
			[]string{"0s broke a", "1s undoing a", "1s broke a", "2s undoing a"}, nil},
		{"arguments are evaluated where it is reached", `inject { repeat n in ["a", "b"] { hurt(n, pause: 2s) for 1s } }`, 0,
			[]string{"0s broke a", "3s undoing a", "3s broke b", "6s undoing b"}, nil},
		{"it sees its own names, and the caller none of them", `inject { fake.break("c") as it; named("b"); fake.repair(it) }`, 0,
			[]string{"0s broke c", "0s broke b", "0s repaired b", "0s repaired c", "0s undoing b", "0s undoing c"}, nil},
		{"a parameter may be called like a probe", `inject { nested("a"); nested("b") }`, 0,
			[]string{"0s broke a", "2s undoing a", "2s broke c", "4s undoing c"}, nil},
		{"in parallel", `inject { parallel { both("a", "b") for 1s; do { wait 500ms; timed("c") } } }`, 0,
			[]string{"0s broke a", "0.5s broke c", "1s broke b", "2.5s undoing c", "3s undoing b", "3s undoing a"}, nil},
		{"a failed step inside skips the rest, and what is there is undone", `inject { half("a") for 5s; fake.break("c") }; rollback { fake.repair("c") }`, 5,
			[]string{"0s broke a", "1s undoing b", "1s undoing a", "1s repaired c"}, nil},
		{"a signal while it holds", `inject { both("a", "b") for 1m; fake.break("c") }; rollback { fake.repair("c") }`, 4,
			[]string{"0s broke a", "1s broke b", "3.5s undoing b", "3.5s undoing a", "3.5s repaired c"}, []option{at(3500*time.Millisecond, interrupt)}},
		{"a signal in one of its steps", `inject { late("a") for 1m; fake.break("c") }`, 4,
			[]string{"5s broke a", "5s undoing a"}, []option{at(2500*time.Millisecond, interrupt)}},
		{"a signal in its wait", `inject { hurt("a", pause: 1m) for 1m }`, 4,
			[]string{"0s broke a", "2s undoing a"}, []option{at(2*time.Second, interrupt)}},
		{"the deadline", `deadline: 3s; inject { hurt("a") for 1m }`, 4,
			[]string{"0s broke a", "3s undoing a"}, nil},
		{"a fault of it that cannot be undone stops what follows", `inject { stubborn("a") for 1s; fake.break("b") }`, 6,
			[]string{"0s broke a", "1s undoing a", "1.2s undoing a", "1.6s undoing a"}, nil},
		{"in setup its faults last to the end", `setup { hurt("b") }; inject { fake.break("a") }; rollback { fake.repair("c") }`, 0,
			[]string{"0s broke b", "1s broke a", "1s undoing a", "1s repaired c", "2s undoing b"}, nil},
		{"steps of rollback are final, inside too", `inject { fake.break("b") for 1s }; rollback { hurt("c") }`, 0,
			[]string{"0s broke b", "1s undoing b", "1s broke c"}, nil},
		{"what cannot be undone", `inject { ruin("b") }`, 0, []string{"0s destroyed b"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, own+c.script+"\n}", func(s *story) {
				s.wantExit(c.exit)
				s.wantLog(c.log...)
			}, c.opts...)
		})
	}
}

func TestPlanLooksIntoCompositeActions(t *testing.T) {
	for _, c := range []struct {
		name, script string
		exit         int
	}{
		{"a tool that a step inside needs is missing", `inject { both("a", "tool") }`, 2},
		{"nothing matches inside", `inject { hurt("nowhere") }`, 2},
		{"below a when it may never run", `inject { when false { hurt("nowhere") } }`, 0},
		{"what it depends on is not known yet", `setup { fake.break("a") as it }; inject { hurt(it) }`, 0},
		{"a name of its own is not taken for one of the experiment", `setup { fake.break("b") as it }; inject { named("c") }`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, own+c.script+"\n}", func(s *story) { s.wantExit(c.exit) })
		})
	}
}

func TestACompositeActionIsAHeading(t *testing.T) {
	play(t, own+`inject { do "outer" { both("a", "b") for 2s because "it may" } } }`, func(s *story) {
		s.wantExit(0)
		var got []string
		for _, e := range s.events {
			switch d := e.Data.(type) {
			case event.Heading:
				got = append(got, strings.Repeat("  ", d.Depth)+"# "+d.Text)
			case event.StepStarted:
				got = append(got, strings.Repeat("  ", d.Depth)+d.Text)
			case event.Waiting:
				got = append(got, strings.Repeat("  ", d.Depth)+d.Text)
			}
		}
		want := `# outer
  # both("a", "b") for 2s, because it may
    # hurt(x)
      fake.break(what)
      wait pause
    # hurt(y)
      fake.break(what)
      wait pause
    hold it for 2s`
		if text := strings.Join(got, "\n"); text != want {
			t.Errorf("got\n%s\nwant\n%s", text, want)
		}
	})
}
