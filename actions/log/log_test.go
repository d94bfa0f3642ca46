package log

import (
	"context"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
)

func TestLog(t *testing.T) {
	action, ok := actions.NewRegistry(All()...).Action("log")
	if !ok {
		t.Fatal("there is no log")
	}
	if s := action.Spec(); s.Irreversible(func(string) bool { return false }) || !s.Params[0].Positional {
		t.Errorf("the spec is %+v", s)
	}
	for _, c := range []struct {
		v    value.Value
		want string
	}{
		{value.StringOf("a \"b\"\nc"), "a \"b\"\nc"},
		{value.DurationOf(183 * time.Millisecond), "183ms"},
		{value.RatioOf(0.2), "20%"},
		{value.ListValue(value.TNumber, value.NumberOf(1), value.NumberOf(2)), "[1, 2]"},
		{value.Null, "nil"},
	} {
		var got []string
		e := env.Env{Log: func(s string) { got = append(got, s) }}
		p, err := action.Plan(context.Background(), e, map[string]value.Value{"value": c.v})
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 0 || p.Does == "" {
			t.Errorf("planning wrote %q", got)
		}
		if _, err := p.Inject(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%s is written as %q", c.v, got)
		}
	}
}
