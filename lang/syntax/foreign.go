package syntax

import (
	"chaos/lang/diag"
	"chaos/lang/token"
)

// blockBehind tells that a statement opens a block, as no line of YAML does: `experiment: "x" {`.
func blockBehind(statement []token.Token) bool {
	for _, t := range statement {
		if t.Kind == token.End || t.Is("{") {
			return t.Is("{")
		}
	}
	return false
}

// methods start a request in files of Hurl and of editors.
var methods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true}

// foreignFile knows a file that is no script at all, but YAML, JSON or Hurl, as the files of other tools are: one message says
// so, instead of one for each of its lines.
func foreignFile(src *diag.Source, toks []token.Token) (diag.Diagnostic, bool) {
	request := methods[toks[0].Text] && len(toks) > 1 && (toks[1].Kind == token.Name || toks[1].Kind == token.Op || toks[1].Is("{"))
	start, depth, keys := true, 0, 0
	for i, t := range toks {
		next := toks[min(i+1, len(toks)-1)]
		switch {
		case start && depth == 0 && usage[t.Text] != "" && !next.Is("-") && !(next.Is(":") && !blockBehind(toks[i:])): // not `steady-state-hypothesis:`, nor `probe:`
			return diag.Diagnostic{}, false
		case start && depth == 0 && t.Kind == token.Name && (next.Kind == token.String || next.Is("{")) && !request: // a misspelt `experiment "x" {`
			return diag.Diagnostic{}, false
		case start && depth == 0 && next.Is(":") && t.Kind == token.Name:
			keys++
		case t.Is("{"), t.Is("["), t.Is("("):
			depth++
		case t.Is("}"), t.Is("]"), t.Is(")"):
			depth--
		}
		start = t.Kind == token.End
	}
	what := ""
	switch {
	case len(toks) > 2 && toks[0].Is("{") && toks[1].Kind == token.String && toks[2].Is(":"):
		what = "JSON"
	case keys > 1:
		what = "YAML"
	case request:
		what = "a request as of Hurl"
	default:
		return diag.Diagnostic{}, false
	}
	return diag.Errorf(diag.Unexpected, src.Span(toks[0].Off, toks[0].Stop()), "this is %s, and no script", what).
		WithHint("a script starts with `experiment \"what must hold\" { … }`"), true
}
