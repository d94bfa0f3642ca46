package runtime

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"chaos/runtime/event"
)

func TestAnExperimentSaysWhatWillBeWatched(t *testing.T) {
	play(t, `probe lamp = fake.switch("a") every 500ms
probe p = fake.pattern("1")
probe s = fake.stream("a")
probe spare = fake.switch("b")
abort when s.errors > 5 for 2s
steady { window: 3s; expect p; expect lamp.level == 1 and lamp.on }
hypothesis { always steady; eventually p and lamp.on within 2s for 1s; expect during.s.errors == 0; never p and p tolerate 10% }
inject { fake.break("b"); when spare.on { fake.break("c") }; wait 4s }`, func(s *story) {
		started := all[event.ExperimentStarted](s)[0]
		var values, checks []string
		for _, w := range started.Watched {
			values = append(values, fmt.Sprint(w.Text, " ", time.Duration(w.Every), " ", w.Read))
		}
		for _, c := range started.Checks {
			checks = append(checks, fmt.Sprint(c.Section, ": ", c.Text, " ", time.Duration(c.Within), " ", time.Duration(c.For), " ", c.Tolerate, " ", c.Reads))
		}
		if want := []string{"lamp.level 500ms true", "lamp.on 500ms true", "p 1s true", "s.errors 1s true", "spare.age 1s false"}; !slices.Equal(values, want) {
			t.Errorf("watched:\n%q\nwant\n%q", values, want)
		}
		if want := []string{
			"steady: expect p 0s 0s 0 [p]", "steady: expect lamp.level == 1 and lamp.on 0s 0s 0 [lamp.level lamp.on]",
			"hypothesis: always p 0s 0s 0 [p]", "hypothesis: always lamp.level == 1 and lamp.on 0s 0s 0 [lamp.level lamp.on]",
			"hypothesis: eventually p and lamp.on within 2s for 1s 2s 1s 0 [p lamp.on]", "hypothesis: expect during.s.errors == 0 0s 0s 0 [s.errors]", "hypothesis: never p and p tolerate 10% 0s 0s 0.1 [p]",
			"guard: abort when s.errors > 5 for 2s 0s 2s 0 [s.errors]",
		}; !slices.Equal(checks, want) {
			t.Errorf("checks:\n%q\nwant\n%q", checks, want)
		}
	})
}

func TestEachChangeOfACheckIsSaidOnce(t *testing.T) {
	play(t, `probe p = fake.pattern("11100xx11"); abort when not sure; steady { expect p }; hypothesis { always p; never not p; eventually p within 9s }; inject { fake.destroy("a"); wait 9s }`, func(s *story) {
		said := map[string][]string{}
		for _, c := range all[event.CheckState](s) {
			key := c.Section + ": " + c.Text
			said[key] = append(said[key], c.State)
		}
		turns := []string{"true", "false", "no data", "true"}
		for key, want := range map[string][]string{
			"steady: expect p":                   {"true", "true"}, // before and after
			"hypothesis: always p":               turns,
			"hypothesis: never not p":            turns,
			"hypothesis: eventually p within 9s": turns,
			"guard: abort when not sure":         {"false"},
		} {
			if !slices.Equal(said[key], want) {
				t.Errorf("%s: %q, want %q", key, said[key], want)
			}
		}
	})
}
