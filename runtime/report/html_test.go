package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// elements reads a page as strict XML, which it is, and gives each element and its attributes to a function.
func elements(t *testing.T, page []byte, each func(xml.StartElement)) {
	t.Helper()
	dec := xml.NewDecoder(bytes.NewReader(page))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			each(e)
		}
	}
}

// A page is kept and mailed: it fetches nothing, runs nothing, and no text of a script or of a service becomes markup.
func TestHTMLStandsAlone(t *testing.T) {
	const evil = `<script src="http://evil.test/x">alert(1)</script><img src=x onerror=alert(1)>'"--></style>`
	r := build(gameDay())
	r.NotStarted = append(r.NotStarted, NotStarted{Script: evil, Problems: []string{evil}})
	for _, run := range r.Runs {
		run.Script, run.Params = evil, map[string]string{"p": evil}
		for _, x := range run.Experiments {
			x.Title, x.Owner, x.Hypothesis, x.Reason, x.Tags = evil, evil, evil, evil, []string{evil}
			for _, c := range x.Checks {
				c.Text, c.Because, c.Detail, c.Operands = evil, evil, evil, []event.Operand{{Text: evil, Value: evil}}
			}
			for _, s := range x.Steps {
				s.Text, s.Does, s.Error = evil, evil, evil
			}
			for _, f := range x.Faults {
				f.Text, f.Does, f.Name, f.Lifetime = evil, evil, evil, evil
			}
			for _, m := range x.Timeline {
				m.Text, m.Detail = evil, evil
			}
			for _, p := range x.Probes {
				p.Name, p.LastError = evil, evil
			}
			for _, s := range x.series {
				s.Text = evil
			}
			for i := range x.Left {
				x.Left[i] = event.Left{Text: evil, Error: evil, Manual: evil}
			}
		}
	}
	page := render(t, "html", r)
	known := []string{"html", "head", "meta", "title", "style", "body", "main", "header", "nav", "section", "h1", "h2", "h3", "p", "span", "div", "figure", "table", "thead", "tbody", "tr", "th", "td",
		"ul", "li", "strong", "code", "pre", "br", "details", "summary", "svg", "path", "i", "b", "a"}
	elements(t, page, func(e xml.StartElement) {
		if !slices.Contains(known, e.Name.Local) {
			t.Errorf("there is an element <%s>", e.Name.Local)
		}
		for _, a := range e.Attr {
			if n := a.Name.Local; n == "src" || strings.HasPrefix(n, "on") || n == "href" && !strings.HasPrefix(a.Value, "#") {
				t.Errorf("<%s> has %s=%q", e.Name.Local, n, a.Value)
			}
			if a.Name.Local == "style" && strings.Contains(a.Value, "ZgotmplZ") {
				t.Errorf("a style was refused: <%s style=%q>", e.Name.Local, a.Value)
			}
		}
	})
	if bytes.Contains(page, []byte("url(")) || bytes.Contains(page, []byte("@import")) {
		t.Error("the page fetches something")
	}
}

// What is drawn stands within the page, in the order of time.
func TestHTMLChartIsInBounds(t *testing.T) {
	percent := regexp.MustCompile(`(left|width):([0-9.]+)%`)
	point := regexp.MustCompile(`[0-9.]+`)
	n := 0
	elements(t, render(t, "html", build(gameDay())), func(e xml.StartElement) {
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "style":
				sum := 0.0
				for _, m := range percent.FindAllStringSubmatch(a.Value, -1) {
					var f float64
					fmt.Sscan(m[2], &f)
					sum += f
				}
				if sum > 100.02 {
					t.Errorf("%s ends outside", a.Value)
				}
			case "d":
				n++
				for _, m := range point.FindAllString(a.Value, -1) {
					var f float64
					fmt.Sscan(m, &f)
					if f < 0 || f > 1000 {
						t.Errorf("%s is outside", a.Value)
					}
				}
			}
		}
	})
	if n == 0 {
		t.Error("no line is drawn")
	}
}

// However long a run, a series is small, and no dip or peak is lost: the bins have the extremes of what was put in.
func TestSeriesKeepExtremes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, length := range []time.Duration{50 * time.Millisecond, 7 * time.Second, 10 * time.Minute, 26 * time.Hour} {
		s := newSeries(event.Watched{Text: "x", Every: event.Seconds(time.Second)})
		low, high := math.Inf(1), math.Inf(-1)
		samples, missing := 0, 0
		var first, last float64
		for i := range 5000 {
			at := length * time.Duration(i) / 5000
			n := random.NormFloat64()
			if random.IntN(50) == 0 {
				n = math.NaN()
				missing++
			} else {
				low, high, last = min(low, n), max(high, n), n
				if samples == 0 {
					first = n
				}
				samples++
			}
			s.add(event.Seconds(at), n)
		}
		gotLow, gotHigh, ok := s.bounds()
		if !ok || gotLow != low || gotHigh != high {
			t.Errorf("%s: from %v to %v, not from %v to %v", length, gotLow, gotHigh, low, high)
		}
		if len(s.bins) > maxBins || len(s.bins) < min(maxBins/2, int(length/time.Duration(firstBin))) {
			t.Errorf("%s: %d bins", length, len(s.bins))
		}
		for _, b := range s.bins {
			samples -= b.n
			missing -= b.missing
			if b.n > 0 && (b.low > b.first || b.low > b.last || b.high < b.first || b.high < b.last) {
				t.Fatalf("%s: %+v", length, b)
			}
		}
		if samples != 0 || missing != 0 {
			t.Errorf("%s: %d samples and %d without data are not counted", length, samples, missing)
		}
		filled := slices.DeleteFunc(slices.Clone(s.bins), func(b bin) bool { return b.n == 0 })
		if filled[0].first != first || filled[len(filled)-1].last != last {
			t.Errorf("%s: from %v to %v, not from %v to %v", length, filled[0].first, filled[len(filled)-1].last, first, last)
		}
	}
}

// A check that turns back and forth all day is some hundred bars, which cover all of its time.
func TestFlappingChecksAreMerged(t *testing.T) {
	const took = 24 * time.Hour
	x := &Experiment{Took: event.Seconds(took)}
	var list []span
	for at := time.Duration(0); at < took; at += time.Second {
		list = append(list, span{event.Seconds(at + time.Millisecond), event.Seconds(at + 500*time.Millisecond)})
	}
	list = append(list[:40000], list[50000:]...) // some hours of peace
	if out := x.merged(list); len(out) != 2 || out[0].from != list[0].from || out[1].to != list[len(list)-1].to {
		t.Errorf("%d bars: %v", len(out), out[:min(len(out), 3)])
	}
}

// Axes are labelled in the units of the language, at round moments.
func TestChartLabels(t *testing.T) {
	for _, c := range []struct {
		n    float64
		kind value.Kind
		want string
	}{{0.041, value.Duration, "41ms"}, {0.5, value.Ratio, "50%"}, {3 << 20, value.Size, "3MiB"}, {200, value.Number, "200"}, {7, "", "7"}} {
		if got := spell(c.n, c.kind); got != c.want {
			t.Errorf("%v as %s: %s, want %s", c.n, c.kind, got, c.want)
		}
	}
	for _, took := range []time.Duration{3 * time.Millisecond, 900 * time.Millisecond, 7 * time.Second, 20 * time.Second, 90 * time.Second, time.Hour, 1000 * time.Hour} {
		x := &Experiment{Began: event.Seconds(1234 * time.Microsecond), Took: event.Seconds(took)}
		if n := len(x.ticks()); n < 2 || n > 8 {
			t.Errorf("%s has %d ticks: %+v", took, n, x.ticks())
		}
	}
}
