package diag

import (
	"embed"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Explanation is what there is to say about a code beyond one message.
type Explanation struct {
	Code  Code
	Title string // a clause, lower case
	Text  string // one or more paragraphs
	Wrong string // a script that has the mistake
	Right string // the same without it
	None  string // why there is no example, where there is none
}

//go:embed explain/*.md
var explainFiles embed.FS

// heading tells a section from a comment of an example.
var heading = regexp.MustCompile(`(?m)^# [EW][0-9]{3}: .+$`)

var explanations = sync.OnceValue(func() map[Code]Explanation {
	out := map[Code]Explanation{}
	files, err := explainFiles.ReadDir("explain")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		data, err := explainFiles.ReadFile(path.Join("explain", f.Name()))
		if err != nil {
			panic(err)
		}
		heads := heading.FindAllStringIndex(string(data), -1)
		for i, h := range heads {
			end := len(data)
			if i+1 < len(heads) {
				end = heads[i+1][0]
			}
			e, err := readExplanation(string(data[h[0]:end]))
			if _, twice := out[e.Code]; err == nil && twice {
				err = fmt.Errorf("%s is there twice", e.Code)
			}
			if err != nil { // any test that asks for an explanation finds it
				panic(fmt.Sprintf("%s: %v", f.Name(), err))
			}
			out[e.Code] = e
		}
	}
	return out
})

// readExplanation reads one section: a heading `CODE: title`, the text, then `wrong:` and `right:` with a script each, or a
// line `no example: why`.
func readExplanation(part string) (Explanation, error) {
	head, body, _ := strings.Cut(part, "\n")
	code, title, _ := strings.Cut(strings.TrimPrefix(head, "# "), ": ")
	e := Explanation{Code: Code(code), Title: title}
	text, rest, found := strings.Cut(body, "\nwrong:\n")
	if !found {
		text, e.None, found = strings.Cut(body, "\nno example: ")
		e.Text, e.None = strings.TrimSpace(text), strings.TrimSpace(e.None)
		if !found {
			return e, fmt.Errorf("%s has neither an example nor a reason for having none", code)
		}
		return e, nil
	}
	wrong, right, found := strings.Cut(rest, "\nright:\n")
	e.Text, e.Wrong, e.Right = strings.TrimSpace(text), unfence(wrong), unfence(right)
	if !found || e.Wrong == "" || e.Right == "" {
		return e, fmt.Errorf("%s needs a wrong and a right example", code)
	}
	return e, nil
}

// unfence is the text of a fenced block.
func unfence(s string) string {
	s, ok := strings.CutPrefix(strings.TrimSpace(s), "```chaos\n")
	t, ok2 := strings.CutSuffix(s, "```")
	if !ok || !ok2 {
		return ""
	}
	return t
}

// Explain finds what is known about a code or the name of a warning, in upper or lower case.
func Explain(name string) (Explanation, bool) {
	for c, lint := range lints {
		if strings.EqualFold(lint, name) {
			name = string(c)
		}
	}
	e, ok := explanations()[Code(strings.ToUpper(name))]
	return e, ok
}

// Codes are all codes that can be explained, in order.
func Codes() []Code { return slices.Sorted(maps.Keys(explanations())) }
