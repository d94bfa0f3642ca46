package ask

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
)

// asker answers with what a test says, or waits for the end.
type asker struct {
	answer string
	err    error
	hang   bool
	asked  []string
}

func (a *asker) Ask(ctx context.Context, question string) (string, error) {
	a.asked = append(a.asked, question)
	if a.hang {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return a.answer, a.err
}

func planAsk(asker Asker, question string, timeout time.Duration) (actions.Plan, error) {
	a := map[string]value.Value{"question": value.StringOf(question)}
	if timeout != 0 {
		a["timeout"] = value.DurationOf(timeout)
	}
	return All(asker)[0].Plan(context.Background(), env.Env{}, a)
}

func TestAnswers(t *testing.T) {
	for typed, want := range map[string]string{"": "", "\n": "", " yes \n": "yes", "notes are taken": "notes are taken", "no way": "no way"} {
		a := &asker{answer: typed}
		p, err := planAsk(a, " Is the plug out? ", 0)
		if err != nil || p.Does != `ask "Is the plug out?"` || len(p.Missing) != 0 || len(a.asked) != 0 {
			t.Fatalf("the plan is %+v (%v), and it asked %v", p, err, a.asked)
		}
		f, err := p.Inject(context.Background(), nil)
		if err != nil || f.Result.Get("answer").Text() != want || f.Result.Get("waited").T.Kind != value.Duration {
			t.Errorf("%q: %s (%v)", typed, f.Result, err)
		}
		if effect, _ := f.Effect(context.Background()); effect != actions.Yes || len(a.asked) != 1 || a.asked[0] != "Is the plug out?" {
			t.Errorf("effect %s, asked %q", effect, a.asked)
		}
	}
}

func TestNo(t *testing.T) {
	for _, typed := range []string{"no", "No\n", "n", " N "} {
		p, _ := planAsk(&asker{answer: typed}, "Go on?", 0)
		if _, err := p.Inject(context.Background(), nil); err == nil || err.Error() != "answered no" {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	p, _ := planAsk(&asker{hang: true}, "Go on?", 50*time.Millisecond)
	if _, err := p.Inject(context.Background(), nil); err == nil || err.Error() != "nobody answered within 50ms" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("a guard tripped")
	time.AfterFunc(20*time.Millisecond, func() { cancel(stop) })
	p, _ = planAsk(&asker{hang: true}, "Go on?", 0)
	if _, err := p.Inject(ctx, nil); !errors.Is(err, stop) {
		t.Error(err)
	}
	closed := errors.New("the terminal was closed")
	p, _ = planAsk(&asker{err: closed}, "Go on?", 0)
	if _, err := p.Inject(context.Background(), nil); !errors.Is(err, closed) {
		t.Error(err)
	}
}

func TestWithoutATerminal(t *testing.T) {
	p, err := planAsk(nil, "Go on?", 0)
	if err != nil || len(p.Missing) != 1 || p.Missing[0].Name != "terminal" || !strings.Contains(p.Missing[0].Install, "--yes") || p.Inject != nil {
		t.Errorf("the plan is %+v (%v)", p, err)
	}
	p, _ = planAsk(Yes{}, "Go on?", 0)
	if f, err := p.Inject(context.Background(), nil); err != nil || f.Result.Get("answer").Text() != "yes" {
		t.Errorf("%s (%v)", f.Result, err)
	}
}

func TestTheSpec(t *testing.T) {
	for want, try := range map[string]func() error{
		"`question` must not be empty":        func() error { _, err := planAsk(nil, " ", 0); return err },
		"`timeout: -1s` must be more than 0s": func() error { _, err := planAsk(nil, "x", -time.Second); return err },
	} {
		if err := try(); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	s := All(nil)[0].Spec()
	if s.Irreversible(func(string) bool { return false }) || s.Result == nil || !strings.Contains(s.Example, "ask(") {
		t.Errorf("the spec is %+v", s)
	}
	for _, p := range s.Params {
		if p.Help == "" {
			t.Errorf("%s lacks help", p.Name)
		}
	}
}
