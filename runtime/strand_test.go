package runtime

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaos/actions"
	"chaos/runtime/event"
)

// An act that does not stop when it is told to is given up after a while: everything that was around it is undone all the
// same, in the same order, and when it comes back later it neither goes on with the script nor may intend anything more. What it
// did after it was undone is undone again.
func TestAnActThatDoesNotStop(t *testing.T) {
	refused := "c: " + errGivenUp.Error()
	for _, c := range []struct {
		name, script string
		log          []string
		late         []string // when it comes back
	}{
		{"in inject", calm + `inject { fake.break("a"); fake.break("c", act: "stuck"); fake.destroy("b") }; rollback { fake.repair("b") }`,
			[]string{"0s broke a", "11s undoing c", "11s undoing a", "11s repaired b"}, []string{refused, "undoing c"}},
		{"and comes through later", calm + `inject { fake.break("a"); fake.break("c", act: "deaf") }`,
			[]string{"0s broke a", "11s undoing c", "11s undoing a"}, []string{"broke c", "let go of c", "undoing c"}},
		{"in setup", calm + `setup { fake.break("a"); fake.break("c", act: "stuck") }; inject { fake.destroy("b") }`,
			[]string{"0s broke a", "11s undoing c", "11s undoing a"}, []string{refused, "undoing c"}},
		{"in nested blocks", calm + `inject { repeat 2 { fake.break("a"); do "deep" { fake.break("b"); when true { fake.break("c", act: "stuck") } } } }`,
			[]string{"0s broke a", "0s broke b", "11s undoing c", "11s undoing b", "11s undoing a"}, []string{refused, "undoing c"}},
		{"in an action of the script, held for a time", `action both(x: string) { fake.break(x); fake.break("c", act: "stuck") }
			experiment "test" { probe sure = fake.pattern("1"); ` + calm + `inject { fake.break("a"); both("b") for 1m } }`,
			[]string{"0s broke a", "0s broke b", "11s undoing c", "11s undoing b", "11s undoing a"}, []string{refused, "undoing c"}},
		{"in one branch of several: the others are undone at once", calm + `inject { fake.break("a"); parallel { fake.break("c", act: "stuck"); do { fake.break("b"); wait 1m } } }`,
			[]string{"0s broke a", "0s broke b", "1s undoing b", "11s undoing c", "11s undoing a"}, []string{refused, "undoing c"}},
		{"in rollback, whose time is up after 5 minutes", calm + `inject { fake.break("a") }; rollback { fake.repair("stuck"); fake.repair("b") }`,
			[]string{"0s broke a", "0s undoing a"}, []string{"repaired stuck"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			play(t, c.script, func(s *story) {
				s.wantExit(6)
				s.wantLog(c.log...)
				if left := s.ended().Left; len(left) == 0 || !strings.Contains(left[0].Error, "it did not stop within 10s, so it may still act") {
					t.Errorf("left: %+v", left)
				}
				ended := map[int]int{}
				for _, e := range all[event.StepEnded](s) {
					ended[e.Step]++
				}
				for _, e := range all[event.StepStarted](s) {
					if ended[e.Step] != 1 {
						t.Errorf("%s has %d ends", e.Text, ended[e.Step])
					}
				}
				events, happened := len(s.events), len(s.log)
				s.let()
				time.Sleep(time.Minute)
				synctest.Wait()
				got := s.log[happened:]
				if !slices.EqualFunc(got, c.late, strings.HasSuffix) || !s.get("c") {
					t.Errorf("when it came back: %q", got)
				}
				if len(s.events) != events {
					t.Errorf("the strand went on: %+v", s.events[events:])
				}
			}, at(time.Second, interrupt))
		})
	}
}

func TestAnActThatBeginsAsItIsToldToStopHasNoMoreTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &strand{}
		if a, wait := s.leave(); a != nil || wait != actGrace {
			t.Errorf("between acts: %v, %v", a, wait)
		}
		s.acting = &acting{began: time.Now()}
		time.Sleep(4 * time.Second)
		if a, wait := s.leave(); a != nil || wait != actGrace-4*time.Second || s.left {
			t.Errorf("after 4 s: %v, %v", a, wait)
		}
		time.Sleep(actGrace - 4*time.Second)
		if a, _ := s.leave(); a != s.acting || !s.left {
			t.Errorf("after its time: %v", a)
		}
	})
}

// A disk that hangs holds a record up for longer than an act has to stop: what is undone meanwhile is not done after that.
func TestAnActThatIsGivenUpWhileItsRecordIsWritten(t *testing.T) {
	began, hangs := make(chan struct{}), make(chan struct{})
	stream := event.NewStream(nil, event.SinkFunc(func(event.Event) { close(began); <-hangs }))
	led := &ledger{x: &experiment{run: &Run{unguarded: true}, reg: (&world{}).registries(), stream: stream}}
	answer, taken := make(chan error, 1), make(chan int, 1)
	go func() {
		_, err := led.Intend(actions.Undo{Kind: "fake.break"})
		answer <- err
	}()
	<-began
	led.close()
	go func() { taken <- len(led.taken()) }()
	select {
	case <-taken:
		t.Error("a record is undone before it is written")
		taken <- 1
	case <-time.After(20 * time.Millisecond):
	}
	close(hangs)
	if err := <-answer; err != errGivenUp {
		t.Errorf("the act goes on: %v", err)
	}
	if n := <-taken; n != 1 {
		t.Errorf("%d records are undone", n)
	}
}
