package repl

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"chaos/cmd/families"
	"chaos/lang/check"
	"chaos/lang/diag"
	"chaos/lang/doc"
	"chaos/lang/syntax"
	"chaos/runtime"
	"chaos/stdlib"
)

// prompted is a session without a terminal, and what it has printed.
func prompted(t testing.TB) (*REPL, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	reg := families.All(nil)
	dir := t.TempDir()
	r := New(Config{
		Options: runtime.Options{Registries: reg, Dir: dir, RunsDir: filepath.Join(dir, "runs")}, Width: func() int { return 100 },
		Check: check.Options{Std: stdlib.FS(), Read: syntax.Load}, Reference: func() *doc.Reference { return doc.New(reg, nil) },
		Lines: Piped(strings.NewReader(""), &out),
	})
	t.Cleanup(func() { r.Leave(true) })
	return r, &out
}

// enter runs inputs that must all be right.
func enter(t testing.TB, r *REPL, out *bytes.Buffer, inputs ...string) {
	t.Helper()
	for _, in := range inputs {
		if _, ok := r.Input(in); !ok {
			t.Fatalf("%s\n%s", in, out)
		}
	}
}

func TestCompletion(t *testing.T) {
	r, out := prompted(t)
	if err := os.WriteFile(filepath.Join(r.cfg.Options.Dir, "game.chaos"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	enter(t, r, out, `use "std/faults"`, "action hurt(what, how_long = 2s) {\n  process.pause(what) for how_long\n}", `let limit = 3s`, `probe home = http.get("http://127.0.0.1:1/")`, `probe load = http.load("http://127.0.0.1:1/")`, `param base = "x"`)
	for _, c := range []struct {
		before string
		want   []string // among the candidates
		not    []string
		part   int
	}{
		{"", []string{"process.", "http.", "probe ", "expect ", "home", "limit", "watch ", "hurt(", "faults."}, []string{"len("}, 0},
		{"pro", []string{"probe ", "process."}, []string{"http."}, 3},
		{"process.pa", []string{"pause("}, []string{"kill("}, 2},
		{"process.pause(", []string{"pid: ", "match: ", "home"}, []string{"len(", "for "}, 0},
		{"process.pause(pid: le", []string{"len("}, []string{"match: "}, 2},
		{"process.start(\"sleep\", ", []string{"args: "}, []string{"command: "}, 0},
		{"process.start(\"sleep\" ", nil, []string{"args: ", "home"}, 0},
		{"process.kill(pid: 3, signal: \"SIGT", []string{`SIGTERM"`}, []string{`SIGHUP"`}, 4},
		{"http.send(\"x\", undo: {", []string{"limit"}, []string{"wait ", "url: "}, 0},
		{"repeat 2 { process.pause(", []string{"pid: "}, nil, 0},
		{"process.pause(pid: max(1, 2), ", []string{"match: "}, []string{"pid: "}, 0},
		{"hurt(", []string{"what: ", "how_long: ", "limit"}, nil, 0},
		{"hurt(limit, ", []string{"how_long: "}, []string{"what: "}, 0},
		{"faults.no", []string{"noisy_neighbour("}, []string{"brownout("}, 2},
		{"faults.noisy_neighbour(", []string{"load: ", "memory: "}, nil, 0},
		{"use \"std/w", []string{`std/web"`}, []string{`std/faults"`}, 5},
		{"process.pause(pid: 3) pick ", []string{"all"}, nil, 0},
		{"process.pause(pid: 3) for ", []string{"limit", "base"}, []string{"home", "len("}, 0},
		{"abort ", []string{"when "}, []string{"limit"}, 0},
		{"wait ", []string{"until ", "limit"}, nil, 0},
		{"expect home.ok ", []string{"and ", "because "}, []string{"home", "within "}, 0},
		{"eventually home.ok ", []string{"within "}, nil, 0},
		{"probe x = http.get(\"y\") ", []string{"every "}, []string{"for "}, 0},
		{"let m = {a: ", []string{"limit"}, []string{"wait "}, 0},
		{"process.pause(pid: 3, ", []string{"match: "}, []string{"pid: "}, 0},
		{"process.start(\"x\", restart: ", []string{"true", "false"}, []string{"pid: "}, 0},
		{"process.kill(pid: 3) ", []string{"for ", "as ", "because "}, nil, 0},
		{"home.st", []string{"status"}, []string{"latency"}, 2},
		{"expect before.", []string{"home", "load"}, []string{"limit"}, 0},
		{"expect before.home.", []string{"latency", "status"}, nil, 0},
		{"expect before.home.latency.p", []string{"p99", "p50"}, nil, 1},
		{"expect during.load.", []string{"p99", "error_ratio"}, nil, 0},
		{"probe x = h", []string{"http."}, []string{"home"}, 1},
		{"do {\n  process.", []string{"pause("}, nil, 0},
		{"do {\n  ", []string{"process.", "wait "}, nil, 0},
		{":", []string{":faults", ":load ", ":undo "}, nil, 1},
		{":lo", []string{":load "}, []string{":undo "}, 3},
		{":doc http.g", []string{"http.get"}, nil, 6},
		{":run ", []string{"setup", "steady", "inject", "rollback"}, nil, 0},
		{":load ga", []string{"game.chaos"}, nil, 2},
		{":plan process.ki", []string{"kill("}, nil, 2},
		{"process.start(\"ga", []string{"game.chaos"}, nil, 2},
		{"use ", []string{`"std/`}, nil, 0},
	} {
		got, part := r.complete(c.before)
		took := time.Hour
		for n := 0; n < 5 || n < 200 && took > 10*time.Millisecond; n++ { // the quickest: others use the machine too
			begun := time.Now()
			r.complete(c.before)
			took = min(took, time.Since(begun))
		}
		for _, w := range c.want {
			if !slices.Contains(got, w) {
				t.Errorf("%q: no %q in %q", c.before, w, got)
			}
		}
		for _, w := range c.not {
			if slices.Contains(got, w) {
				t.Errorf("%q: %q should not be offered", c.before, w)
			}
		}
		if part != c.part {
			t.Errorf("%q: %d characters are repeated, want %d", c.before, part, c.part)
		}
		if took > 10*time.Millisecond {
			t.Errorf("%q took %v, more than 10ms", c.before, took)
		}
	}
}

func BenchmarkCompletion(b *testing.B) {
	r, out := prompted(b)
	enter(b, r, out, `probe home = http.get("http://127.0.0.1:1/")`)
	for b.Loop() {
		for _, before := range []string{"", "process.pause(", "expect before.home.latency.p", ":doc "} {
			r.complete(before)
		}
	}
}

func TestAnInputGoesOnUntilItsBracketsBalance(t *testing.T) {
	for text, want := range map[string]bool{
		"1 + 1": false, "1 +": true, "do {": true, "do {\n wait 1s": true, "do {\n wait 1s\n}": false, "len([1,": true, "let x =": true,
		"`many": true, "`many\nlines`": false, `"not closed`: false, "50%": false, "a and": true, "}": false, "log('{')": false, "x // {": false,
	} {
		if got := incomplete(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestOfTheCommandsOnlyPlanGoesOn(t *testing.T) {
	for text, want := range map[string]bool{":plan do {": true, ":plan do {\n wait 1s\n}": false, ":load a(b": false, ":plan": false, "do {": true} {
		if got := goesOn(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestABlockIsOneEntryOfTheHistory(t *testing.T) {
	for in, want := range map[string]string{
		"1 + 1": "1 + 1",
		"do {\n  wait 1s // why\n\n  process.kill(w)\n}":     "do { wait 1s; process.kill(w) }",
		"when a.b {\n  wait 1s\n} else {\n  wait 2s\n}":      "when a.b { wait 1s } else { wait 2s }",
		"process.start(\"x\",\n  args: [\"a\",\n    \"b\"])": "process.start(\"x\", args: [\"a\", \"b\"])",
	} {
		got, ok := oneEntry(in)
		if !ok || got != want {
			t.Errorf("%q: %q", in, got)
		}
		file, before := syntax.Parse(diag.NewSource("a", in))
		again, after := syntax.Parse(diag.NewSource("b", got))
		if len(before) != len(after) || len(file.Items) != len(again.Items) {
			t.Errorf("%q does not mean the same", got)
		}
	}
	for _, in := range []string{"", "  ", `let k = secret("K")`, "x = `a\nb` +\n 1"} {
		if _, ok := oneEntry(in); ok {
			t.Errorf("%q is kept", in)
		}
	}
}

// What a session is saved as has blocks where faults were undone, and the time that they had.
func TestFaultsThatWereUndoneEndInBlocks(t *testing.T) {
	start := time.Now().Add(-time.Hour)
	ends := map[int]time.Duration{}
	b := newBook(families.All(nil), check.Options{}, "session", func(n int) (time.Time, bool) {
		if d, ok := ends[n]; ok {
			return start.Add(d), d == 9*time.Second
		}
		return time.Time{}, false
	})
	add := func(text string, at, end time.Duration) {
		src := diag.NewSource("input", text)
		p := &piece{src: src, to: len(text), where: inject, done: true, begun: start.Add(at), at: start.Add(at)}
		if i := strings.Index(text, " for "); i > 0 {
			p.lasts = [2]int{i + 1, len(text)}
		}
		if end > 0 {
			n := len(ends) + 1
			p.faults = []int{n}
			ends[n] = end
		}
		b.pieces = append(b.pieces, p)
	}
	sec := time.Second
	add("process.pause(pid: 1)", 1*sec, 6*sec)        // 2 is undone inside of it
	add("process.pause(pid: 2)", 2*sec, 4*sec)        //
	add(`log("between")`, 5*sec, 0)                   //
	add("process.pause(pid: 3) for 2s", 7*sec, 9*sec) // by itself
	add("process.pause(pid: 4)", 10*sec, 12*sec)      // before 5, which began in it
	add("process.pause(pid: 5)", 11*sec, 14*sec)      //
	add(`log("end")`, 13*sec, 0)                      //
	text, ds := b.script()
	if ds.HasErrors() {
		t.Fatal(ds.Error())
	}
	_, text, _ = strings.Cut(text, "inject {\n")
	want := `    do {
      process.pause(pid: 1)
      do {
        process.pause(pid: 2)
        wait 2s
      }
      log("between")
      wait 1s
    }
    process.pause(pid: 3) for 2s
    do {
      process.pause(pid: 4)
      do {
        process.pause(pid: 5)
        log("end")
        wait 1s
      }
    }
  }
}
`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestPipedInputsAreRead(t *testing.T) {
	l := Piped(strings.NewReader("a\nb"), io.Discard)
	for _, want := range []string{"a", "b"} {
		if got, err := l.Read(""); got != want || err != nil {
			t.Errorf("%q %v", got, err)
		}
	}
	if _, err := l.Read(""); err != io.EOF {
		t.Error(err)
	}
}

func TestAHistoryThatHasGrownIsShortened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	for i := range 2*historyLimit + 1 {
		appendHistory(path, fmt.Sprintf("1 + %d", i))
	}
	if got := readHistory(path); len(got) != historyLimit || got[historyLimit-1] != fmt.Sprintf("1 + %d", 2*historyLimit) {
		t.Errorf("%d entries, the last is %q", len(got), got[len(got)-1])
	}
	text, err := os.ReadFile(path)
	if n := strings.Count(string(text), "\n"); err != nil || n != historyLimit {
		t.Errorf("%d lines are left in the file, %v", n, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "history-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The latest value is a literal in what is entered next, so that a script that is saved does without the session.
func TestTheLatestValueIsRecalled(t *testing.T) {
	r, out := prompted(t)
	if _, ok := r.Input("_ + 1"); ok {
		t.Error("there is no value yet")
	}
	enter(t, r, out, `"${1 + 1} $${x}"`, "len(_)", "_ * 1s", "let limit = _ + 1s", "limit", "let a_b = 3", "a_b")
	for _, want := range []string{`"2 $${x}"`, "6", "6s", "7s", "3"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if text, _ := r.book.script(); !strings.Contains(text, "let limit = 6s + 1s") {
		t.Errorf("the script is\n%s", text)
	}
}

// What is entered anew in a section replaces what was there, also when the first try was wrong.
func TestAttributesOfASectionAreReplaced(t *testing.T) {
	r, out := prompted(t)
	enter(t, r, out, `probe self = process.count(match: "no such process")`)
	if _, ok := r.Input("steady { window: 2s; expect 1 == 1 }"); ok {
		t.Error("it names no probe")
	}
	enter(t, r, out, "steady { window: 1ms; expect self == 0 }")
	text, ds := r.book.script()
	if ds.HasErrors() || strings.Count(text, "window:") != 1 || !strings.Contains(text, "window: 1ms") {
		t.Errorf("%s\nthe script is\n%s", ds.Error(), text)
	}
}
