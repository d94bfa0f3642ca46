package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"chaos/actions"
	"chaos/lang/value"
	"chaos/runtime/env"
)

// The test binary is also the other process that undoes a record.
func TestMain(m *testing.M) {
	if os.Getenv("HTTP_TEST_AS") != "reverter" {
		os.Exit(m.Run())
	}
	var u actions.Undo
	err := json.NewDecoder(os.Stdin).Decode(&u)
	if err == nil {
		err = sendReverter{}.Revert(context.Background(), env.Env{}, u)
	}
	var state actions.State
	if err == nil {
		state, err = sendReverter{}.State(context.Background(), env.Env{}, u)
	}
	if err != nil {
		fmt.Print(err)
		os.Exit(1)
	}
	fmt.Print(state)
}

func elsewhere(t *testing.T, u actions.Undo) (string, error) {
	t.Helper()
	data, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HTTP_TEST_AS=reverter", "GORACE=atexit_sleep_ms=0")
	cmd.Stdin = strings.NewReader(string(data))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// world is a server that notes what it was sent.
type world struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string
	answer   http.HandlerFunc
}

func newWorld(t *testing.T) *world {
	w := &world{}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.mu.Lock()
		w.requests = append(w.requests, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("X-Key"), body)))
		answer := w.answer
		w.mu.Unlock()
		if answer != nil {
			answer(rw, r)
		}
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *world) set(answer http.HandlerFunc) { w.mu.Lock(); w.answer = answer; w.mu.Unlock() }

func (w *world) got() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := strings.Join(w.requests, " | ")
	w.requests = nil
	return out
}

type ledger struct {
	undos    []actions.Undo
	applied  int
	onIntend func() error
}

func (l *ledger) Intend(u actions.Undo) (string, error) {
	l.undos = append(l.undos, u)
	if l.onIntend != nil {
		return "1", l.onIntend()
	}
	return "1", nil
}

func (l *ledger) Applied(string) error { l.applied++; return nil }

type args = map[string]value.Value

func dict(m args) value.Value { return value.Value{T: value.MapOf(value.TAny), V: m} }

func text(s string) value.Value { return value.StringOf(s) }

func planSend(a args) (actions.Plan, error) {
	return All()[0].Plan(context.Background(), env.Env{}, a)
}

func send1(t *testing.T, ctx context.Context, a args) (actions.Fault, *ledger, error) {
	t.Helper()
	p, err := planSend(a)
	if err != nil {
		t.Fatal(err)
	}
	led := &ledger{}
	f, err := p.Inject(ctx, led)
	return f, led, err
}

func TestSending(t *testing.T) {
	w := newWorld(t)
	w.set(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(201); io.WriteString(rw, `{"id": 7}`) })
	p, err := planSend(args{"url": text(w.URL + "/a"), "json": dict(args{"on": value.BoolOf(true)}), "headers": dict(args{"X-Key": value.NumberOf(5)})})
	if err != nil || p.Does != "send POST "+w.URL+"/a" || p.Lifetime != actions.Irreversible || len(p.Undo) != 0 {
		t.Fatalf("the plan is %+v (%v)", p, err)
	}
	if got := w.got(); got != "" {
		t.Errorf("planning sent %s", got)
	}
	led := &ledger{}
	f, err := p.Inject(context.Background(), led)
	if err != nil || len(led.undos) != 0 {
		t.Fatal(err, led.undos)
	}
	if got := w.got(); got != `POST /a 5 {"on":true}` {
		t.Errorf("it got %s", got)
	}
	if r := f.Result; r.Get("status").Float() != 201 || r.Get("body").Text() != `{"id": 7}` || r.Get("json").Get("id").Float() != 7 || f.Note != "status 201" {
		t.Errorf("the result is %s, %s", f.Result, f.Note)
	}
	w.set(nil)
	if f, _, err = send1(t, context.Background(), args{"url": text(w.URL), "method": text("delete"), "form": dict(args{"a": text("b c")})}); err != nil || !f.Result.Get("json").IsMissing() {
		t.Errorf("the result is %s (%v)", f.Result, err)
	}
	if got := w.got(); got != "DELETE /  a=b+c" {
		t.Errorf("it got %s", got)
	}
}

func TestFailures(t *testing.T) {
	w := newWorld(t)
	w.set(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bad":
			http.Error(rw, "\n  no such switch \nmore", 404)
		case "/moved":
			http.Redirect(rw, r, "/elsewhere", 307)
		case "/slow":
			<-r.Context().Done()
		case "/torn":
			rw.Header().Set("Content-Length", "100")
			io.WriteString(rw, "x")
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	host := strings.TrimPrefix(w.URL, "http://")
	for url, want := range map[string]string{
		w.URL + "/bad":   "POST " + w.URL + "/bad was answered with status 404 (Not Found): no such switch",
		w.URL + "/moved": "POST " + w.URL + "/moved was answered with status 307 (Temporary Redirect) to /elsewhere; send it there",
		w.URL + "/slow":  "POST " + w.URL + "/slow: no answer from " + host + " within 200ms",
		w.URL + "/torn":  "POST " + w.URL + "/torn: " + host + " closed the connection before its answer was complete",
		"http://" + dead: "POST http://" + dead + ": connection refused by " + dead,
	} {
		timeout := 20 * time.Second
		if strings.HasSuffix(url, "/slow") {
			timeout = 200 * time.Millisecond
		}
		_, _, err := send1(t, context.Background(), args{"url": text(url), "timeout": value.DurationOf(timeout)})
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if got := w.got(); strings.Count(got, "|") != 3 {
		t.Errorf("something was sent twice: %s", got)
	}
	for allow, ok := range map[float64]bool{404: true, 200: false} {
		_, _, err := send1(t, context.Background(), args{"url": text(w.URL + "/bad"), "allow": value.ListValue(value.TNumber, value.NumberOf(allow))})
		if (err == nil) != ok {
			t.Errorf("allow %v: %v", allow, err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("a guard tripped")
	time.AfterFunc(50*time.Millisecond, func() { cancel(stop) })
	begun := time.Now()
	if _, _, err := send1(t, ctx, args{"url": text(w.URL + "/slow"), "timeout": value.DurationOf(time.Minute)}); !errors.Is(err, stop) || time.Since(begun) > 20*time.Second {
		t.Errorf("cancelling says %v after %v", err, time.Since(begun))
	}
}

func TestUndo(t *testing.T) {
	w := newWorld(t)
	a := args{"url": text(w.URL + "/switch"), "json": dict(args{"on": value.BoolOf(false)}), "headers": dict(args{"X-Key": text("k")}),
		"undo": dict(args{"method": text("put"), "json": dict(args{"on": value.BoolOf(true)})})}
	p, err := planSend(a)
	if err != nil || p.Lifetime != actions.Guardian || p.Why == "" || len(p.Undo) != 1 || p.Undo[0] != "send PUT "+w.URL+"/switch" {
		t.Fatalf("the plan is %+v (%v)", p, err)
	}
	led := &ledger{onIntend: func() error {
		if got := w.got(); got != "" {
			t.Errorf("it sent %s before the record was on disk", got)
		}
		return nil
	}}
	if _, err := p.Inject(context.Background(), led); err != nil || led.applied != 1 {
		t.Fatal(err)
	}
	w.got()
	u := led.undos[0]
	if strings.Contains(u.Manual, "'k'") || u.Manual != `curl -X PUT -H 'Content-Type: application/json' --data-binary '{"on":true}' '`+w.URL+`/switch'  # with the script's headers X-Key` {
		t.Errorf("by hand: %s", u.Manual)
	}
	r := sendReverter{}
	if s, err := r.State(context.Background(), env.Env{}, u); err != nil || s != actions.Present {
		t.Errorf("before the undo: %s (%v)", s, err)
	}
	if out, err := elsewhere(t, u); err != nil || out != "gone" {
		t.Errorf("another process: %s (%v)", out, err)
	}
	const want = `PUT /switch k {"on":true}`
	if got := w.got(); got != want {
		t.Errorf("it got %s", got)
	}
	// The server refuses at first: the fault stays, and the next attempt counts.
	w.set(func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, "busy", 503) })
	if err := r.Revert(context.Background(), env.Env{}, u); err == nil || !strings.HasSuffix(err.Error(), "(Service Unavailable): busy") {
		t.Error(err)
	}
	if s, _ := r.State(context.Background(), env.Env{}, u); s != actions.Present {
		t.Errorf("after a refusal: %s", s)
	}
	w.set(nil)
	w.got()
	for range 2 {
		if err := r.Revert(context.Background(), env.Env{}, u); err != nil {
			t.Fatal(err)
		}
		if s, err := r.State(context.Background(), env.Env{}, u); err != nil || s != actions.Gone {
			t.Errorf("after the undo: %s (%v)", s, err)
		}
	}
	if got := w.got(); got != want {
		t.Errorf("undone twice it got %s", got)
	}
	w.Close()
	_, led2, err := send1(t, context.Background(), a)
	if err == nil || len(led2.undos) != 1 {
		t.Fatalf("%v, %v", err, led2.undos)
	}
	if out, err := elsewhere(t, led2.undos[0]); err == nil || !strings.Contains(out, "connection refused") {
		t.Errorf("a dead server counts as undone: %s", out)
	}
}

func TestWithoutARecordNothingIsSent(t *testing.T) {
	w := newWorld(t)
	p, err := planSend(args{"url": text(w.URL), "undo": dict(args{"method": text("DELETE")})})
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("the journal is full")
	if _, err := p.Inject(context.Background(), &ledger{onIntend: func() error { return full }}); !errors.Is(err, full) || w.got() != "" {
		t.Error(err)
	}
}

func TestBadArguments(t *testing.T) {
	for want, a := range map[string]args{
		"`url`: \"localhost:80\" has no scheme":              {"url": text("localhost:80")},
		"`method`: \"a b\" is no HTTP method":                {"url": text("http://x"), "method": text("a b")},
		"`body` and `json` exclude each other":               {"url": text("http://x"), "body": text("a"), "json": text("b")},
		"`timeout: 0s` must be more than 0s":                 {"url": text("http://x"), "timeout": value.DurationOf(0)},
		"`allow` must be a whole number from 200 to 599":     {"url": text("http://x"), "allow": value.ListValue(value.TNumber, value.NumberOf(7))},
		"`undo` is empty":                                    {"url": text("http://x"), "undo": dict(args{})},
		"`undo` has no `methd`; did you mean `method`?":      {"url": text("http://x"), "undo": dict(args{"methd": text("PUT")})},
		"`undo`: `method`: 5 is a number, not a string":      {"url": text("http://x"), "undo": dict(args{"method": value.NumberOf(5)})},
		"`undo`: `url`: \"ftp://x\" is neither http nor htt": {"url": text("http://x"), "undo": dict(args{"url": text("ftp://x")})},
	} {
		if _, err := planSend(a); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

func TestTheSpec(t *testing.T) {
	s := All()[0].Spec()
	if !s.Irreversible(func(string) bool { return false }) || s.Irreversible(func(a string) bool { return a == "undo" }) || !strings.Contains(s.Example, s.Name) || s.Undo == "" {
		t.Errorf("the spec is %+v", s)
	}
	for _, p := range s.Params {
		if p.Help == "" {
			t.Errorf("%s lacks help", p.Name)
		}
	}
	for _, f := range s.Result.Fields {
		if f.Help == "" {
			t.Errorf("%s lacks help", f.Name)
		}
	}
	if Reverters()[0].Kind() != "http.send" {
		t.Error("the kind is for ever")
	}
}
