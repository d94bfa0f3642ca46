package diag

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// JSON writes a list for tools: one object, whose `diagnostics` is an empty list where there is nothing to say.
func JSON(w io.Writer, list List) error {
	if list == nil {
		list = List{}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // messages are full of `<` and `>`
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Diagnostics List `json:"diagnostics"`
	}{list})
}

// GitHub writes each diagnostic as a workflow command, which GitHub shows beside the line that it is about:
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message
func GitHub(w io.Writer, list List) {
	for _, d := range list {
		props := []string{"file=" + property(d.Span.File), fmt.Sprintf("line=%d", d.Span.Start.Line)}
		if d.Span.End.Line > d.Span.Start.Line { // GitHub refuses columns where a message covers several lines
			props = append(props, fmt.Sprintf("endLine=%d", d.Span.End.Line))
		} else {
			props = append(props, fmt.Sprintf("col=%d", d.Span.Start.Col), fmt.Sprintf("endLine=%d", d.Span.End.Line), fmt.Sprintf("endColumn=%d", d.Span.End.Col))
		}
		props = append(props, "title="+property(d.Code.title()))
		text := d.Message
		if d.Hint != "" {
			text += " (" + d.Hint + ")"
		}
		fmt.Fprintf(w, "::%s %s::%s\n", d.Severity, strings.Join(props, ","), message(text))
	}
}

// message and property escape as the runner of GitHub reads them back.
var (
	messageEscapes  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func message(s string) string  { return messageEscapes.Replace(s) }
func property(s string) string { return propertyEscapes.Replace(s) }
