package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/runtime/event"
)

// chart is an experiment over time: its phases, what was done to the world, and what was seen. All places are in percent of
// its length, so that the page needs no script and may have any width.
type chart struct {
	Phases []bar
	Ticks  []bar
	Lanes  []lane
	More   int // lanes that were left out
	Rows   []row
}

// bar is a stretch of time.
type bar struct {
	Left, Width string
	Class       string
	Text        string
}

// lane is a step of the script, with each time it ran.
type lane struct {
	Text string
	Bars []bar
}

// row is one value.
type row struct {
	Name      string
	Low, High string   // what the lower and the upper edge stand for; none of what is yes or no
	Lines     []string // as the path of an SVG of 1000 by 100
	Areas     []string
	States    []bar // of yes and no
	Gaps      []bar // without data
	Broken    []bar // when a check that reads it was false
	Trips     []bar // when a guard stopped it all
}

const maxLanes = 24

func (x *Experiment) chart() *chart {
	if x.Took <= 0 {
		return nil
	}
	c := &chart{Phases: x.phaseBars(), Ticks: x.ticks()}
	c.Lanes = x.lanes()
	if n := len(c.Lanes); n > maxLanes {
		c.Lanes, c.More = c.Lanes[:maxLanes], n-maxLanes
	}
	for _, s := range x.series {
		if r, ok := x.row(s); ok {
			c.Rows = append(c.Rows, r)
		}
	}
	if len(c.Lanes)+len(c.Rows) == 0 {
		return nil
	}
	return c
}

// part is a moment of the experiment in percent of its length.
func (x *Experiment) part(t event.Seconds) float64 {
	return min(max(100*float64(t)/float64(x.Took), 0), 100)
}

// bar is the stretch between two moments of the run.
func (x *Experiment) bar(from, to event.Seconds, class, text string) bar {
	left := x.part(from - x.Began)
	return bar{fmt.Sprintf("%.2f%%", left), fmt.Sprintf("%.2f%%", max(x.part(to-x.Began)-left, 0)), class, text}
}

func (x *Experiment) phaseBars() []bar {
	var out []bar
	for _, p := range x.Phases {
		class := "quiet"
		if p.Phase == event.During || p.Phase == event.Settle {
			class = "during"
		}
		out = append(out, x.bar(p.Began, p.Began+p.Took, class, string(p.Phase)))
	}
	return out
}

// ticks are about six round moments of the run.
func (x *Experiment) ticks() []bar {
	var steps []time.Duration
	for _, unit := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		steps = append(steps, unit, 2*unit, 5*unit)
	}
	steps = append(steps, 10*time.Second, 15*time.Second, 30*time.Second, time.Minute, 2*time.Minute, 5*time.Minute, 10*time.Minute, 15*time.Minute, 30*time.Minute, time.Hour)
	step := steps[len(steps)-1]
	for _, s := range steps {
		if time.Duration(x.Took)/s <= 7 {
			step = s
			break
		}
	}
	for time.Duration(x.Took)/step > 7 {
		step *= 2
	}
	var out []bar
	end := time.Duration(x.Began + x.Took)
	for t := (time.Duration(x.Began) + step - 1).Truncate(step); t <= end; t += step {
		out = append(out, x.bar(event.Seconds(t), event.Seconds(t), "", value.DurationOf(t).Short()))
	}
	return out
}

// lanes are the steps that do something, by their place in the script: a loop is one lane.
func (x *Experiment) lanes() []lane {
	var places []event.Place
	var out []lane
	faults := map[int]*Fault{}
	for _, f := range x.Faults {
		faults[f.Step] = f
	}
	for _, s := range x.Steps {
		if s.Kind != "action" {
			continue
		}
		i := slices.Index(places, s.At)
		f := faults[s.Step]
		what := oneLine(cmp.Or(s.Does, s.Text))
		if f != nil {
			what = oneLine(f.what())
		}
		if i < 0 {
			i = len(places)
			places, out = append(places, s.At), append(out, lane{Text: what})
		} else {
			out[i].Text = oneLine(s.Text) // what it does may differ each time
		}
		end, class := s.Began+s.Took, "act"
		if s.Phase == event.Setup {
			class = "stage"
		}
		switch {
		case f == nil:
		case f.Undone:
			end = max(end, f.At)
		default:
			end, class = x.Began+x.Took, "left"
		}
		if s.Status == "failed" {
			class = "failed"
		}
		tip := fmt.Sprintf("%s · %s to %s", what, clock(s.Began), clock(end))
		if class == "left" {
			tip = what + " · not undone"
		}
		out[i].Bars = append(out[i].Bars, x.bar(s.Began, end, class, tip))
	}
	return out
}

// row draws a value; false when there was nothing to draw.
func (x *Experiment) row(s *series) (row, bool) {
	low, high, ok := s.bounds()
	if !ok {
		return row{}, false
	}
	r := row{Name: s.Text}
	for _, k := range x.claims {
		if !slices.Contains(k.Reads, s.Text) {
			continue
		}
		for _, b := range x.merged(x.broken[claimAt{k.Section, k.At}]) {
			r.Broken = append(r.Broken, x.bar(b.from, b.to, "", "false: "+oneLine(k.Text)))
		}
		for _, g := range x.Guards {
			if g.At == k.At {
				r.Trips = append(r.Trips, x.bar(g.T, g.T, "", "guard tripped: "+oneLine(g.Text)))
			}
		}
	}
	for i, b := range s.bins {
		if b.missing > 0 {
			r.Gaps = append(r.Gaps, x.binBar(s, i, i+1, "", "no data"))
		}
	}
	if s.Type == value.Bool {
		r.States = x.states(s)
		return r, true
	}
	if low >= 0 {
		low = 0
	}
	if high == low {
		high = low + 1
	} else {
		r.High = spell(high, s.Type)
	}
	r.Low = spell(low, s.Type)
	r.Lines, r.Areas = x.curves(s, low, high)
	return r, true
}

// merged are the spans as the eye sees them: what is less than a bin's width apart is one, so a check that turns back and
// forth for a day makes no page of a million bars.
func (x *Experiment) merged(list []span) []span {
	var out []span
	for _, b := range list {
		b.to = x.until(b)
		if n := len(out); n > 0 && b.from-out[n-1].to < x.Took/maxBins {
			out[n-1].to = b.to
			continue
		}
		out = append(out, b)
	}
	return out
}

// until is when a check that was false was no longer looked at, or true again.
func (x *Experiment) until(b span) event.Seconds {
	if b.to > 0 {
		return b.to
	}
	for _, p := range x.Phases {
		if p.Began > b.from && p.Phase != event.Settle {
			return p.Began
		}
	}
	return x.Began + x.Took
}

// binBar is the stretch of some bins.
func (x *Experiment) binBar(s *series, from, to int, class, text string) bar {
	return x.bar(x.Began+event.Seconds(from)*s.width, x.Began+event.Seconds(to)*s.width, class, text)
}

// states are the stretches of yes and no. A bin with one no in it is no.
func (x *Experiment) states(s *series) []bar {
	var out []bar
	start, end, class := 0, 0, ""
	flush := func() {
		if class != "" {
			out = append(out, x.binBar(s, start, end, class, map[string]string{"yes": "true", "no": "false"}[class]))
		}
		class = ""
	}
	for i, b := range s.bins {
		if b.n == 0 && b.missing == 0 {
			continue
		}
		now := "yes"
		switch {
		case b.n == 0:
			now = ""
		case b.low == 0:
			now = "no"
		}
		switch {
		case class == "" || now == "" || event.Seconds(i-end)*s.width > s.gap():
			flush()
			start = i
		case class != now:
			end = i // the state before lasted until this sample
			flush()
			start = i
		}
		class, end = now, i+1
	}
	flush()
	return out
}

// curves are the lines of numbers, one a stretch with data, and what is below them.
func (x *Experiment) curves(s *series, low, high float64) (lines, areas []string) {
	var b strings.Builder
	var first, last float64
	end := -1 // the latest bin with data
	flush := func() {
		if b.Len() == 0 {
			return
		}
		if first == last {
			b.WriteString("h0") // which a round end makes a dot
		}
		lines = append(lines, b.String())
		areas = append(areas, fmt.Sprintf("%sL%.1f,100L%.1f,100Z", b.String(), last, first))
		b.Reset()
	}
	y := func(n float64) float64 { return 96 - 92*(n-low)/(high-low) }
	for i, k := range s.bins {
		if k.n == 0 {
			if k.missing > 0 {
				flush()
			}
			continue
		}
		if event.Seconds(i-end)*s.width > s.gap() {
			flush()
		}
		last, end = 10*x.part(event.Seconds(i)*s.width+s.width/2), i
		switch {
		case b.Len() == 0:
			first = last
			fmt.Fprintf(&b, "M%.1f,%.1f", last, y(k.first))
		case s.Type == value.Number: // there is nothing between the status 200 and the status 503
			fmt.Fprintf(&b, "H%.1fV%.1f", last, y(k.first))
		default:
			fmt.Fprintf(&b, "L%.1f,%.1f", last, y(k.first))
		}
		if k.n > 1 {
			fmt.Fprintf(&b, "V%.1fV%.1fV%.1f", y(k.low), y(k.high), y(k.last))
		}
	}
	flush()
	return lines, areas
}
