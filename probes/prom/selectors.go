package prom

import (
	"fmt"
	"strings"

	"chaos/lang/value"
)

// selector is one place in a query that reads series: `http_requests_total{job="api"}[1m]`.
type selector struct {
	text     string // without the range
	name     string // the metric, "" where only its labels say what is read
	matchers string // with their braces, "" without
	window   string // what stands in the brackets, up to the colon of a subquery; "" without
	past     bool   // `offset` or `@`: it means to read what is old
}

// Words of PromQL that are not metrics where they stand alone: https://prometheus.io/docs/prometheus/latest/querying/operators/
const (
	groupings = " by without on ignoring group_left group_right " // a list of labels in parentheses follows
	operators = " and or unless atan2 bool offset inf nan start end "
)

// selectors finds what a query reads. It is no parser: it knows how PromQL writes strings, comments, brackets and names, and
// leaves the rest to the server. What it finds wrong, every server finds wrong too.
func selectors(query string, hide func(string) string) ([]selector, error) {
	s := scanner{text: query, hide: hide}
	if err := s.scan(); err != nil {
		return nil, err
	}
	return s.found, nil
}

type scanner struct {
	text  string
	hide  func(string) string
	at    int
	open  []int // where the brackets that are not closed yet stand
	found []selector
}

func (s *scanner) scan() error {
	for s.space(); s.at < len(s.text); s.space() {
		from := s.at
		switch c := s.text[s.at]; {
		case c == '"' || c == '\'' || c == '`':
			if err := s.quoted(); err != nil {
				return err
			}
		case c == '{':
			if err := s.selector("", from); err != nil {
				return err
			}
		case c == '(':
			s.open = append(s.open, s.at)
			s.at++
		case c == ')':
			if len(s.open) == 0 {
				return s.wrong(s.at, "nothing is open that this closes")
			}
			s.open = s.open[:len(s.open)-1]
			s.at++
		case c == '[': // of a subquery, behind a parenthesis
			if err := s.until(']'); err != nil {
				return err
			}
		case isLetter(c):
			if err := s.word(from); err != nil {
				return err
			}
		case isDigit(c) || c == '.':
			for s.at < len(s.text) && (isName(s.text[s.at]) || s.text[s.at] == '.') {
				s.at++
			}
		default:
			s.at++
		}
	}
	if n := len(s.open); n > 0 {
		return s.wrong(s.open[n-1], "nothing closes this")
	}
	return nil
}

// word is a name of a metric, a function or an operator.
func (s *scanner) word(from int) error {
	for s.at < len(s.text) && isName(s.text[s.at]) {
		s.at++
	}
	name := s.text[from:s.at]
	lower := " " + strings.ToLower(name) + " "
	s.space()
	next := byte(0)
	if s.at < len(s.text) {
		next = s.text[s.at]
	}
	switch {
	case strings.Contains(groupings, lower) && next == '(':
		return s.until(')')
	case strings.Contains(groupings, lower) && len(s.found) > 0, strings.Contains(operators, lower), next == '(':
		return nil
	}
	// An aggregation may have its labels in front of what it aggregates: sum by (code) (…).
	if following := s.peekWord(); (following == "by" || following == "without") && next != '{' && next != '[' {
		return nil
	}
	return s.selector(name, from)
}

// selector reads what follows the name of a metric.
func (s *scanner) selector(name string, from int) error {
	out := selector{name: name}
	end := from + len(name)
	if s.at < len(s.text) && s.text[s.at] == '{' {
		begin := s.at
		if err := s.until('}'); err != nil {
			return err
		}
		end = s.at
		out.matchers = s.text[begin:end]
	}
	out.text = s.text[from:end]
	s.space()
	if s.at < len(s.text) && s.text[s.at] == '[' {
		begin := s.at + 1
		if err := s.until(']'); err != nil {
			return err
		}
		out.window, _, _ = strings.Cut(s.text[begin:s.at-1], ":")
		out.window = strings.TrimSpace(out.window)
		s.space()
	}
	out.past = s.at < len(s.text) && s.text[s.at] == '@' || s.peekWord() == "offset"
	s.found = append(s.found, out)
	return nil
}

// until goes behind the bracket that closes the one here. Strings may hold any letter.
func (s *scanner) until(closing byte) error {
	from := s.at
	for s.at++; s.at < len(s.text); {
		switch c := s.text[s.at]; c {
		case closing:
			s.at++
			return nil
		case '"', '\'', '`':
			if err := s.quoted(); err != nil {
				return err
			}
		default:
			s.at++
		}
	}
	return s.wrong(from, "nothing closes this")
}

func (s *scanner) quoted() error {
	from, quote := s.at, s.text[s.at]
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == quote:
			s.at++
			return nil
		case c == '\\' && quote != '`':
			s.at++
		}
	}
	return s.wrong(from, "this string never ends")
}

// space goes over white space and comments.
func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		case '#':
			if n := strings.IndexByte(s.text[s.at:], '\n'); n >= 0 {
				s.at += n
				continue
			}
			s.at = len(s.text)
		default:
			return
		}
	}
}

func (s *scanner) peekWord() string {
	end := s.at
	for end < len(s.text) && isName(s.text[end]) {
		end++
	}
	return strings.ToLower(s.text[s.at:end])
}

func (s *scanner) wrong(at int, what string) error {
	return fmt.Errorf("`query`: %s: %s", what, pointAt(s.text, at, s.hide))
}

// pointAt shows a place inside a query, which may be long and have several lines. Of one with a secret nothing is quoted: the
// place may be in the middle of it.
func pointAt(query string, at int, hide func(string) string) string {
	at = min(max(at, 0), len(query))
	line := strings.Count(query[:at], "\n") + 1
	column := at - strings.LastIndexByte(query[:at], '\n')
	rest, _, _ := strings.Cut(query[at:], "\n")
	place := fmt.Sprintf("column %d", column)
	if strings.Contains(query, "\n") {
		place = fmt.Sprintf("line %d, %s", line, place)
	}
	switch {
	case rest == "":
		return "at its end, " + place
	case hide(query) != query:
		return "at " + place
	}
	return fmt.Sprintf("at %s, %s", value.Quote(clip(rest, 40)), place)
}

// clip cuts a text that has no bound of its own.
func clip(text string, most int) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c == '_' || c == ':' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isName(c byte) bool   { return isLetter(c) || isDigit(c) }
