package check

import (
	"strings"
	"testing"

	"chaos/lang/check/checktest"
	"chaos/lang/diag"
	"chaos/lang/value"
)

const whole = `
// How long a hiccup may last.
param patience: duration
param steps = [1ms, 10ms] in [[1ms, 10ms], [2s]]

abort when file.error_ratio > 50%
probe file = http.load("http://127.0.0.1/")
probe unused = http.get("http://127.0.0.1/unused")

// What the customer sees.
experiment "all of it" {
  owner: "team"
  tags: ["a", "b"]
  deadline: 15m
  meta: {ticket: "CH-1"}

  let limit = 2 * patience

  setup "prepare" {
    process.start("./worker") as worker
    expect patience > 1s because "else it tells nothing"
    wait until state.running within 5s
  }

  probe home = http.get("http://127.0.0.1/") every 200ms
  probe state = process.state(worker)

  steady "as usual" {
    window: 5s
    settle: 1m
    expect home.status == 200
      because "it is up"
  }

  hypothesis {
    stop_when_refuted: true
    always steady
    never home.status == 500 tolerate 1%
    eventually home.ok within limit for 1s
    expect after.home.latency.p99 < before.home.latency.p99 + 50ms
    expect paused[0].pid > 0
  }

  inject "break it" {
    abort when home.latency > 5s for 3s because "enough"
    let half = patience / 2
    process.start("./other") pick 2 as paused
    repeat delay in steps {
      network.delay(to: "db:5432", delay: delay) for half pick all
    }
    when home.ok {
      process.kill(worker)
    } else when state.running {
      wait 1s
    } else {
      log("nothing")
    }
    parallel {
      cpu.stress(workers: 2)
      do "both" {
        wait 2s
      }
    }
  }

  rollback {
    process.restart(worker)
  }
}
`

func TestTheWholeIR(t *testing.T) {
	cat := checktest.New()
	cat["process.start"].Selects = true // so that a `pick` may stand there
	src := diag.NewSource("whole.chaos", whole)
	script, list := parseAndCheckWith(t, src, cat)
	if len(list) > 0 {
		t.Fatalf("%v", list)
	}
	x := script.Experiments[0]
	if x.Title != "all of it" || x.Help != "What the customer sees." || x.Owner != "team" || strings.Join(x.Tags, ",") != "a,b" {
		t.Errorf("head: %+v", x)
	}
	var probes []string
	for _, p := range x.Probes {
		probes = append(probes, p.Name)
	}
	if got := strings.Join(probes, " "); got != "file home state" {
		t.Errorf("probes: %s", got)
	}
	if len(x.Guards) != 2 || !x.Guards[0].File || x.Guards[1].File || x.Guards[1].Because != "enough" || x.Guards[1].Text != "abort when home.latency > 5s for 3s" {
		t.Errorf("guards: %+v", x.Guards)
	}
	if len(x.Setup.Body) != 3 || x.Setup.Title != "prepare" {
		t.Errorf("setup: %+v", x.Setup)
	}
	if p, ok := x.Setup.Body[1].(*Precondition); !ok || p.Check.Because != "else it tells nothing" || p.Check.Text != "expect patience > 1s" {
		t.Errorf("precondition: %+v", x.Setup.Body[1])
	}
	if x.Steady.Window == nil || x.Steady.Settle == nil || len(x.Steady.Checks) != 1 || x.Steady.Checks[0].Text != "expect home.status == 200" {
		t.Errorf("steady: %+v", x.Steady)
	}
	h := x.Hypothesis
	if !h.StopWhenRefuted || h.Checks[0].Kind != AlwaysSteady || h.Checks[0].Cond != nil || h.Checks[1].Tolerate == nil || h.Checks[2].Within == nil || h.Checks[2].For == nil || !h.Checks[3].After || h.Checks[2].After {
		t.Errorf("hypothesis: %+v", h)
	}
	if got := h.Checks[1].Text; got != "never home.status == 500 tolerate 1%" {
		t.Errorf("text: %s", got)
	}
	b := x.Inject.Body
	if l, ok := b[0].(*LetStmt); !ok || l.Name != "half" {
		t.Errorf("let: %+v", b[0])
	}
	if s, ok := b[1].(*Step); !ok || s.As != "paused" || s.Pick == nil || s.Text != `process.start("./other") pick 2 as paused` {
		t.Errorf("step: %+v", b[1])
	}
	r, ok := b[2].(*Repeat)
	if !ok || r.Name != "delay" || r.Times != nil || !r.Body[0].(*Step).PickAll || r.Body[0].(*Step).For == nil {
		t.Errorf("repeat: %+v", b[2])
	}
	if s := r.Body[0].(*Step); s.Call.Args["delay"].Type() != value.TDuration {
		t.Errorf("the loop name is a %s", s.Call.Args["delay"].Type())
	}
	w, ok := b[3].(*When)
	if !ok || len(w.Then) != 1 || len(w.Else) != 1 {
		t.Fatalf("when: %+v", b[3])
	}
	if e, ok := w.Else[0].(*When); !ok || len(e.Else) != 1 {
		t.Errorf("else when: %+v", w.Else[0])
	}
	if p, ok := b[4].(*Parallel); !ok || len(p.Branches) != 2 || p.Branches[1].(*Do).Title != "both" {
		t.Errorf("parallel: %+v", b[4])
	}
}

func TestBindParams(t *testing.T) {
	script, list := parseAndCheck(t, diag.NewSource("p.chaos", `
param patience: duration
param name = "x"
param mode = "fast" in ["fast", "slow"]
param steps = [1ms, 10ms]
param share: ratio = 5%
param on = false
`))
	if len(list) > 0 {
		t.Fatal(list)
	}
	none := func(string) (string, bool) { return "", false }
	env := func(k string) (string, bool) { return "7s", k == "CHAOS_PARAM_patience" }
	for _, c := range []struct {
		given map[string]string
		env   func(string) (string, bool)
		want  string // of patience name mode steps share on, or a part of the message
	}{
		{map[string]string{"patience": "2s"}, env, `2s "x" "fast" [1ms, 10ms] 5% false`},
		{nil, env, `7s "x" "fast" [1ms, 10ms] 5% false`},
		{map[string]string{"patience": "1m30s", "name": "a b", "mode": "slow", "steps": "[10ms,2s]", "share": "0", "on": "true"}, none, `1m30s "a b" "slow" [10ms, 2s] 0% true`},
		{nil, none, "--param patience=100ms"},
		{map[string]string{"patience": "5"}, none, "no duration"},
		{map[string]string{"patience": "5s; rm"}, none, "no duration"},
		{map[string]string{"patienc": "5s"}, env, "did you mean `patience`"},
		{map[string]string{"mode": "odd"}, env, "`mode` may not be \"odd\""},
		{map[string]string{"steps": "[1,2]"}, env, "no list of duration"},
		{map[string]string{"steps": "10ms"}, env, "no list of duration"},
		{map[string]string{"on": "yes"}, env, "no bool"},
		{map[string]string{"share": "20"}, env, "no ratio"},
		{map[string]string{"on": "\"${x}"}, env, "no bool"},
	} {
		got, ds := BindParams(script.Params, c.given, c.env)
		if len(ds) > 0 {
			if text := diag.List(ds).Error(); !strings.Contains(text, c.want) || len(ds) > 1 {
				t.Errorf("%v: %s, want %s", c.given, text, c.want)
			}
			continue
		}
		var parts []string
		for _, p := range script.Params {
			parts = append(parts, got[p.Name].String())
		}
		if s := strings.Join(parts, " "); s != c.want {
			t.Errorf("%v: %s, want %s", c.given, s, c.want)
		}
	}
}
