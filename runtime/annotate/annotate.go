// Package annotate marks a run on Grafana's dashboards: a region for each experiment, and one for each fault, from the
// moment at which it was in place to the moment at which it was gone.
//
// The interface is https://grafana.com/docs/grafana/latest/developer-resources/api-reference/http-api/annotations/: POST
// /api/annotations makes an annotation and answers with its id, PATCH /api/annotations/ID ends it.
package annotate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"chaos/runtime/event"
	"chaos/runtime/netfail"
)

const (
	perRequest = 3 * time.Second // a Grafana that is slow must not slow a run
	atTheEnd   = 5 * time.Second // for what is still to be sent when the run is over
	most       = 1000            // waiting to be sent; what comes on top is dropped, and said
)

// Grafana is a sink. It never blocks and never fails a run: Close says what could not be sent.
type Grafana struct {
	endpoint string
	host     string // for messages
	token    string
	client   *http.Client
	queue    chan *mark
	stop     context.CancelFunc
	ended    chan struct{}

	mu      sync.Mutex
	failed  int
	dropped int
	first   error

	run        string
	experiment *mark
	faults     map[int]*mark
	texts      map[int]event.StepStarted
}

// mark is one annotation, sent twice: when it begins and when it ends.
type mark struct {
	region *region // shared by both
	at     time.Time
	end    bool
	text   string
	tags   []string
}

// region is what Grafana knows by one id. Only the sender touches it.
type region struct{ id int64 }

// New checks the address of a Grafana, such as https://grafana.example.com; it may end in /api/annotations. token may be
// empty, for one that needs none.
func New(address, token string) (*Grafana, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("%q is no address of a Grafana; write https://HOST, or http://HOST:3000", address)
	}
	if u.User != nil {
		return nil, errors.New("leave user and password out of the address: a token of a service account is taken from the secret GRAFANA_TOKEN")
	}
	u.RawQuery, u.Fragment = "", ""
	endpoint := strings.TrimSuffix(u.String(), "/")
	if !strings.HasSuffix(endpoint, "/api/annotations") {
		endpoint += "/api/annotations"
	}
	client := &http.Client{Timeout: perRequest, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ctx, cancel := context.WithCancel(context.Background())
	g := &Grafana{endpoint: endpoint, host: u.Host, token: token, client: client, queue: make(chan *mark, most), stop: cancel,
		ended: make(chan struct{}), faults: map[int]*mark{}, texts: map[int]event.StepStarted{}}
	go func() {
		defer close(g.ended)
		for m := range g.queue {
			if err := g.send(ctx, m); err != nil {
				g.mu.Lock()
				g.failed++
				if g.first == nil {
					g.first = err
				}
				g.mu.Unlock()
			}
		}
	}()
	return g, nil
}

// Event takes the stream in.
func (g *Grafana) Event(e event.Event) {
	switch d := e.Data.(type) {
	case event.RunStarted:
		g.run = d.Run
	case event.ExperimentStarted:
		clear(g.faults)
		clear(g.texts)
		tags := append([]string{"chaos", "experiment", "run:" + g.run}, d.Tags...)
		g.experiment = g.begin(e.Wall, d.Title, tags)
	case event.StepStarted:
		g.texts[d.Step] = d
	case event.StepEnded:
		s := g.texts[d.Step]
		if s.Phase == event.During && s.Lifetime != "" && d.Status == "done" { // a log line has no lifetime, and is no fault
			g.fault(e.Wall, d.Step)
		}
	case event.UndoState: // also where the step failed half-way: something may be in place
		if s := g.texts[d.Step]; s.Phase == event.During && d.State == "applied" {
			g.fault(e.Wall, d.Step)
		}
	case event.FaultUndone:
		if m := g.faults[d.Step]; m != nil {
			word := "undone"
			if !d.OK {
				word = "NOT undone: " + d.Error
			}
			delete(g.faults, d.Step)
			g.finish(m, e.Wall, m.text+" · "+word)
		}
	case event.ExperimentEnded:
		for step, m := range g.faults { // what had nothing to undo: a kill, a command
			delete(g.faults, step)
			g.finish(m, m.at, m.text)
		}
		if m := g.experiment; m != nil {
			m.tags = append(m.tags, string(d.Verdict), string(d.Outcome), string(d.Restoration))
			text := m.text + " · " + strings.Join([]string{string(d.Verdict), string(d.Outcome), string(d.Restoration)}, " · ")
			if d.Reason != "" {
				text += " · " + d.Reason
			}
			g.finish(m, e.Wall, text)
			g.experiment = nil
		}
	}
}

func (g *Grafana) fault(at time.Time, step int) {
	if g.faults[step] != nil {
		return
	}
	s := g.texts[step]
	text := s.Does
	if text == "" {
		text = s.Text
	}
	g.faults[step] = g.begin(at, text, []string{"chaos", "fault", "run:" + g.run})
}

func (g *Grafana) begin(at time.Time, text string, tags []string) *mark {
	m := &mark{region: &region{}, at: at, text: text, tags: tags}
	g.enqueue(*m)
	return m
}

func (g *Grafana) finish(m *mark, at time.Time, text string) {
	g.enqueue(mark{region: m.region, at: at, end: true, text: text, tags: m.tags})
}

func (g *Grafana) enqueue(m mark) {
	select {
	case g.queue <- &m:
	default:
		g.mu.Lock()
		g.dropped++
		g.mu.Unlock()
	}
}

// Close sends what is left, for some seconds, and says what could not be sent.
func (g *Grafana) Close() error {
	close(g.queue)
	t := time.AfterFunc(atTheEnd, g.stop)
	<-g.ended
	t.Stop()
	g.stop()
	g.client.CloseIdleConnections()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.failed > 0:
		return fmt.Errorf("%d annotations could not be written; the first: %w", g.failed+g.dropped, g.first)
	case g.dropped > 0:
		return fmt.Errorf("%d annotations were dropped: Grafana is too slow", g.dropped)
	}
	return nil
}

// body is what Grafana takes; times are milliseconds since 1970.
type body struct {
	Time    int64    `json:"time,omitempty"`
	TimeEnd int64    `json:"timeEnd,omitempty"`
	Tags    []string `json:"tags"`
	Text    string   `json:"text"`
}

func (g *Grafana) send(ctx context.Context, m *mark) error {
	method, address, b := http.MethodPost, g.endpoint, body{Time: m.at.UnixMilli(), Tags: m.tags, Text: m.text}
	if m.end {
		if m.region.id == 0 {
			return nil // its begin failed, and was counted
		}
		method, address = http.MethodPatch, fmt.Sprintf("%s/%d", g.endpoint, m.region.id)
		b.Time, b.TimeEnd = 0, m.at.UnixMilli()
	}
	data, err := json.Marshal(b)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(data))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	if g.token != "" {
		request.Header.Set("Authorization", "Bearer "+g.token)
	}
	answer, err := g.client.Do(request)
	if err != nil {
		return errors.New(g.why(err))
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	switch {
	case err != nil:
		return errors.New(g.why(err))
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s refuses the token (%s); it needs the right annotations:write, and is taken from the secret GRAFANA_TOKEN", g.endpoint, answer.Status)
	case answer.StatusCode/100 == 3:
		return fmt.Errorf("%s answers %s to %s; write that address", g.endpoint, answer.Status, answer.Header.Get("Location"))
	case answer.StatusCode/100 != 2:
		return fmt.Errorf("%s answers %s", g.endpoint, answer.Status)
	}
	if m.end {
		return nil
	}
	var made struct{ ID int64 }
	if err := json.Unmarshal(text, &made); err != nil || made.ID == 0 {
		return fmt.Errorf("%s answers without an id: is this a Grafana?", g.endpoint)
	}
	m.region.id = made.ID
	return nil
}

// why is the cause, in plain words.
func (g *Grafana) why(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("no answer within %s after the run", atTheEnd)
	case netfail.IsTimeout(err):
		return netfail.Timeout(g.host, perRequest)
	}
	return netfail.Text(err, g.host)
}
