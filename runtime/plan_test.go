package runtime

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/spec"
	"chaos/lang/syntax"
	"chaos/runtime/event"
)

// planned plans the experiment of a script, the braces of which may be left to it.
func planned(t *testing.T, before, body string) (*ExperimentPlan, []diag.Diagnostic) {
	t.Helper()
	return plannedOn(t, nil, before, body)
}

// plannedOn plans for a machine that lacks something.
func plannedOn(t *testing.T, lacks func(*spec.Call) []spec.Need, before, body string) (*ExperimentPlan, []diag.Diagnostic) {
	t.Helper()
	w := &world{on: map[string]bool{}, begun: time.Now(), release: make(chan struct{})}
	reg := w.registries()
	src := diag.NewSource("test.chaos", before+"\nexperiment \"test\" { probe sure = fake.pattern(\"1\")\n"+body+"\n}")
	file, diags := syntax.Parse(src)
	checked, more := check.File(file, reg, check.Options{})
	if all := append(diag.List(diags), more...); all.HasErrors() {
		t.Fatalf("the test's script is wrong:\n%s", all.Error())
	}
	params, _ := check.BindParams(checked.Params, nil, func(string) (string, bool) { return "", false })
	dir := t.TempDir()
	plans, problems := New(Options{Script: checked, Registries: reg, Seed: 1, Dir: dir, RunsDir: dir + "/runs", Params: params, Lacks: lacks}).Plan(context.Background())
	if len(w.log) > 0 {
		t.Errorf("the plan acted: %s", strings.Join(w.log, "; "))
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("the plan wrote %v", entries)
	}
	return plans[0], problems
}

func TestAPlanSaysWhenEachTargetIsKnown(t *testing.T) {
	definitions, _, _ := strings.Cut(own, "experiment")
	p, problems := planned(t, definitions+`param list = ["a", "b"]`, `
		setup { fake.break("c") as it }
		steady { expect sure }
		inject {
			fake.break("a") for 2s
			fake.break(it)
			fake.break("nowhere")
			fake.break("b") as other
			fake.break(other)
			repeat x in list { fake.break(x) }
			when sure { fake.break("nowhere") } else { fake.destroy("a") }
			do "inner" { fake.break("b") }
			parallel { fake.break("b"); hurt(it) }
			both("a", "b") for 3s
		}
		rollback { fake.repair("c") }`)
	if len(problems) > 0 {
		t.Fatal(diag.List(problems).Error())
	}
	var got []string
	for _, s := range p.Steps() {
		line := fmt.Sprintf("%s%s: %s", strings.Repeat("  ", s.Depth), s.Text, s.State)
		if s.Why != "" {
			line += ", " + s.Why
		}
		if s.Ends != "" {
			line += "; ends " + s.Ends
		}
		if s.Conditional {
			line += "; perhaps"
		}
		if s.Irreversible() {
			line += "; irreversible"
		}
		got = append(got, line)
	}
	want := strings.TrimSpace(`
fake.break("c") as it: resolved; ends at the very end
fake.break("a") for 2s: resolved; ends after 2s
fake.break(it): after_setup, ` + "`it` is what setup returns" + `; ends with inject
fake.break("nowhere"): after_setup, nowhere matches nothing yet; ends with inject
fake.break("b") as other: resolved; ends with inject
fake.break(other): when_reached, ` + "`other` is what a step before it returns" + `; ends with inject
  fake.break(x): when_reached, ` + "`x` is another one in each pass" + `; ends with its pass of ` + "`repeat`" + `
  fake.break("nowhere"): when_reached, nowhere matches nothing yet; ends with inject; perhaps
  fake.destroy("a"): resolved; perhaps; irreversible
  fake.break("b"): resolved; ends with its ` + "`do`" + `
  fake.break("b"): resolved; ends with inject
    fake.break(what): after_setup, ` + "`it` is what setup returns" + `; ends with inject
    fake.break(what): resolved; ends with ` + "`both`, after 3s" + `
    fake.break(what): resolved; ends with ` + "`both`, after 3s" + `
fake.repair("c"): resolved; irreversible`)
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if f := p.Faults; f.Reversible != 13 || f.Irreversible != 1 || f.More {
		t.Errorf("faults %+v, want 13 and 1: the list has two items, of `when` one branch runs", f)
	}
}

func TestALongestRun(t *testing.T) {
	for _, c := range []struct {
		name, body string
		most       time.Duration
		cut        bool
		unknown    int
	}{
		{"nothing but a sample, and the way back", `inject { fake.break("a") }`, time.Second + 31*time.Second, false, 0},
		{"windows", `steady { window: 5s; settle: 10s; expect sure }; recovery: 1m; inject { wait 3s }`, 15*time.Second + 3*time.Second + 65*time.Second, false, 0},
		{"the longest branch of parallel", `inject { parallel { wait 3s; do { wait 2s; wait 2s }; fake.break("a") for 1s } }`, time.Second + 4*time.Second + 31*time.Second, false, 0},
		{"one branch of when", `inject { when sure { wait 3s } else { wait 5s } }`, time.Second + 5*time.Second + 31*time.Second, false, 0},
		{"passes", `inject { repeat 4 { wait 2s; fake.break("a") for 1s } }`, time.Second + 12*time.Second + 31*time.Second, false, 0},
		{"passes over what setup starts", `setup { fake.break("a") as it }; inject { repeat x in [it, it] { wait 2s } }`, time.Second + 4*time.Second + 31*time.Second, false, 0},
		{"until", `inject { wait until sure within 7s }`, time.Second + 7*time.Second + 31*time.Second, false, 0},
		{"an excursion", `hypothesis { eventually sure within 9s; eventually sure within 2s }; inject { wait 1s }`, time.Second + time.Second + 9*time.Second + 31*time.Second, false, 0},
		{"the deadline", `deadline: 20s; inject { wait 1h }`, 20*time.Second + 31*time.Second, true, 0},
		{"what is not known counts as the deadline", `deadline: 20s; setup { fake.break("a") as it }; inject { repeat 3 { let n = 1s * level.level; wait n } }`, 20*time.Second + 31*time.Second, false, 1},
		{"rollback has a limit of its own", `inject { wait 1s }; rollback { wait 1h }`, 2*time.Second + rollbackLimit + 31*time.Second, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := c.body
			if !strings.Contains(body, "steady {") {
				body = "steady { expect sure }\n" + body
			}
			if strings.Contains(body, "level") {
				body = "probe level = fake.switch(\"a\")\n" + body
			}
			p, problems := planned(t, "", body)
			if len(problems) > 0 {
				t.Fatal(diag.List(problems).Error())
			}
			if got := time.Duration(p.Longest.Most); got != c.most || p.Longest.Cut != c.cut || len(p.Longest.Unknown) != c.unknown {
				t.Errorf("at most %s, cut %v, unknown %q; want %s, %v, %d", got, p.Longest.Cut, p.Longest.Unknown, c.most, c.cut, c.unknown)
			}
			var sum event.Seconds
			for _, phase := range p.Longest.Phases {
				sum += phase.Most
			}
			if !c.cut && c.unknown == 0 && sum != p.Longest.Most {
				t.Errorf("the phases come to %s, all to %s", time.Duration(sum), time.Duration(p.Longest.Most))
			}
		})
	}
}

func TestAPlanListsWhatDoesNotFit(t *testing.T) {
	p, problems := planned(t, "", `steady { expect sure }; inject { fake.break("nowhere"); fake.break("tool"); fake.break("a") }`)
	if len(problems) != 2 {
		t.Fatalf("%d problems, want 2: %s", len(problems), diag.List(problems).Error())
	}
	var states []string
	for _, s := range p.Steps("inject") {
		states = append(states, string(s.State))
	}
	if got := strings.Join(states, " "); got != "unfit unfit resolved" {
		t.Errorf("states %s", got)
	}
	if len(p.Needs) != 1 || p.Needs[0].Name != "frobnicate" || p.Needs[0].State != "missing" {
		t.Errorf("needs %+v", p.Needs)
	}
	if l := p.Steps("inject")[2].Lifetime; l != actions.Kernel {
		t.Errorf("lifetime %q", l)
	}
}

func TestAPlanSaysWhatItsProbesNeed(t *testing.T) {
	p, _ := planned(t, "", `probe a = fake.stream("a"); probe b = fake.stream("b"); steady { expect sure and a.ticks >= 0 and b.ticks >= 0 }`)
	want := PlannedNeed{Kind: "privilege", Name: "CAP_TICK", Install: "run as root", State: "unknown", For: []string{"probe a", "probe b"}}
	if len(p.Needs) != 1 || !reflect.DeepEqual(p.Needs[0], want) {
		t.Errorf("needs %+v", p.Needs)
	}
}

// What a machine lacks for any target stops the run before setup brings that target.
func TestAPlanKnowsWhatIsLackingBeforeSetupBringsTheTarget(t *testing.T) {
	lacks := func(c *spec.Call) []spec.Need {
		if c.Name == "fake.break" {
			return []spec.Need{{Kind: "privilege", Name: "root", Install: "run as root"}}
		}
		return nil
	}
	const steady = "steady { expect sure }; setup { fake.break(\"x\") as it }; "
	for body, want := range map[string]int{
		`inject { fake.break("nowhere") }`:                1, // it matches nothing yet
		`inject { fake.break(it) }`:                       1, // what setup returns
		`inject { repeat 3 { fake.break(it) } }`:          1,
		`inject { when sure { fake.break(it) } }`:         0, // perhaps never
		`inject { wait 1s }; rollback { fake.break(it) }`: 0,
	} {
		if _, problems := plannedOn(t, lacks, "", steady+body); len(problems) != want {
			t.Errorf("%s: %d problems, want %d: %s", body, len(problems), want, diag.List(problems).Error())
		} else if want > 0 && !strings.Contains(problems[0].Message, "privilege `root` is missing (run as root)") {
			t.Errorf("%s", problems[0].Message)
		}
	}
}

// A secret is in none of the texts, wherever it went.
func TestAPlanIsRedacted(t *testing.T) {
	w := &world{on: map[string]bool{}, begun: time.Now(), release: make(chan struct{})}
	reg := w.registries()
	src := diag.NewSource("test.chaos", `experiment "hunter2" { probe sure = fake.pattern("1"); steady { expect sure }; inject { fake.break("hunter2"); fake.break("nowhere") because "hunter2" } }`)
	file, _ := syntax.Parse(src)
	checked, diags := check.File(file, reg, check.Options{})
	if diag.List(diags).HasErrors() {
		t.Fatal(diag.List(diags).Error())
	}
	plans, problems := New(Options{Script: checked, Registries: reg, Seed: 1, RunsDir: t.TempDir(), Redact: func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") }}).Plan(context.Background())
	if text := fmt.Sprintf("%+v %v", *plans[0], problems); strings.Contains(text, "hunter2") || !strings.Contains(text, "break ***") {
		t.Errorf("not redacted: %s", text)
	}
	if len(problems) != 1 {
		t.Errorf("problems: %v", problems)
	}
}
