package annotate

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"chaos/runtime/event"
)

// grafana answers as Grafana's annotation interface does.
type grafana struct {
	mu     sync.Mutex
	asked  []string // "POST /api/annotations time text tags"
	tokens map[string]bool
}

func (g *grafana) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var b body
	json.NewDecoder(r.Body).Decode(&b)
	g.asked = append(g.asked, fmt.Sprintf("%s %s %d %d %s [%s]", r.Method, r.URL.Path, b.Time, b.TimeEnd, b.Text, strings.Join(b.Tags, " ")))
	g.tokens[r.Header.Get("Authorization")] = true
	fmt.Fprintf(w, `{"message":"Annotation added","id":%d}`, len(g.asked))
}

func tell(g *Grafana) {
	at := func(ms int64, d event.Data) { g.Event(event.Event{Wall: time.UnixMilli(ms), Data: d}) }
	at(1, event.RunStarted{Run: "r1"})
	at(2, event.ExperimentStarted{Title: "it holds", Tags: []string{"nightly"}})
	at(3, event.StepStarted{Step: 1, Phase: event.Setup, Does: "start it"})
	at(4, event.StepEnded{Step: 1, Status: "done"})
	at(5, event.StepStarted{Step: 2, Phase: event.During, Does: "pause it", Lifetime: "kernel"})
	at(6, event.UndoState{Step: 2, State: "applied"})
	at(7, event.StepEnded{Step: 2, Status: "done"})
	at(8, event.StepStarted{Step: 3, Phase: event.During, Does: "kill that", Lifetime: "irreversible"})
	at(9, event.StepEnded{Step: 3, Status: "done"})
	at(9, event.StepStarted{Step: 4, Phase: event.During, Does: "write a line into the report"})
	at(9, event.StepEnded{Step: 4, Status: "done"})
	at(10, event.FaultUndone{Step: 2, OK: true})
	at(11, event.ExperimentEnded{Title: "it holds", Verdict: event.Held, Outcome: event.Completed, Restoration: event.Clean})
}

func TestExperimentsAndFaultsAreRegions(t *testing.T) {
	fake := &grafana{tokens: map[string]bool{}}
	server := httptest.NewServer(fake)
	defer server.Close()
	g, err := New(server.URL+"/", "glsa_token")
	if err != nil {
		t.Fatal(err)
	}
	tell(g)
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"POST /api/annotations 2 0 it holds [chaos experiment run:r1 nightly]",
		"POST /api/annotations 6 0 pause it [chaos fault run:r1]",
		"POST /api/annotations 9 0 kill that [chaos fault run:r1]",
		"PATCH /api/annotations/2 0 10 pause it · undone [chaos fault run:r1]",
		"PATCH /api/annotations/3 0 9 kill that [chaos fault run:r1]",
		"PATCH /api/annotations/1 0 11 it holds · held · completed · restored [chaos experiment run:r1 nightly held completed restored]",
	}
	if got := strings.Join(fake.asked, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("asked for\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	if len(fake.tokens) != 1 || !fake.tokens["Bearer glsa_token"] {
		t.Errorf("the tokens were %v", fake.tokens)
	}
}

func TestTroubleIsToldAtTheEndAndHoldsNobodyUp(t *testing.T) {
	answering := func(status int, header, text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if header != "" {
				w.Header().Set("Location", header)
			}
			w.WriteHeader(status)
			w.Write([]byte(text))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() }) // after the parallel tests
	refusing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing.Close()
	for address, want := range map[string]string{
		answering(401, "", ""):                             "refuses the token (401 Unauthorized); it needs the right annotations:write",
		answering(302, "https://elsewhere.test/login", ""): "answers 302 Found to https://elsewhere.test/login; write that address",
		answering(500, "", ""):                             "answers 500 Internal Server Error",
		answering(200, "", "<html>"):                       "answers without an id: is this a Grafana?",
		"http://" + refusing.Addr().String():               "connection refused by " + refusing.Addr().String(),
		"http://" + l.Addr().String():                      "no answer",
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			g, err := New(address, "")
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			tell(g)
			if took := time.Since(begun); took > time.Second {
				t.Errorf("telling took %s", took)
			}
			err = g.Close()
			if took := time.Since(begun); took > atTheEnd+5*time.Second {
				t.Errorf("closing took %s", took)
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("it says %v", err)
			}
		})
	}
}

func TestAddressesOfNoGrafana(t *testing.T) {
	for _, a := range []string{"grafana:3000", "", "ftp://x", "http://", "http://user:pw@grafana"} {
		if _, err := New(a, ""); err == nil {
			t.Errorf("%q is accepted", a)
		} else if strings.Contains(err.Error(), "pw") {
			t.Errorf("the message tells the password: %v", err)
		}
	}
}
