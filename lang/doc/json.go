package doc

import (
	"encoding/json"
	"io"
	"strings"

	"chaos/lang/spec"
)

// The JSON form. Fields may be added; none changes its meaning or goes away.
type (
	jsonTopic struct {
		Calls     []jsonCall     `json:"calls"`
		Functions []jsonFunction `json:"functions"`
		Modules   []jsonModule   `json:"modules,omitempty"`
	}
	jsonCall struct {
		Name         string      `json:"name"`
		Kind         spec.Kind   `json:"kind"`
		Family       string      `json:"family"`
		Summary      string      `json:"summary"`
		Signature    string      `json:"signature"`
		Example      string      `json:"example"`
		Arguments    []jsonParam `json:"arguments"`
		Result       *jsonResult `json:"result,omitempty"`
		Needs        []jsonNeed  `json:"needs,omitempty"`
		Selects      bool        `json:"selects,omitempty"`
		Streaming    bool        `json:"streaming,omitempty"`
		Undo         string      `json:"undo,omitempty"`
		UndoArgument string      `json:"undo_argument,omitempty"`
		Lifetime     string      `json:"lifetime,omitempty"`
		Irreversible bool        `json:"irreversible,omitempty"`
		Harmless     bool        `json:"harmless,omitempty"`
		Spares       string      `json:"spares,omitempty"`
	}
	jsonParam struct {
		Name       string   `json:"name"`
		Type       string   `json:"type"`
		Help       string   `json:"help"`
		Required   bool     `json:"required,omitempty"`
		Positional bool     `json:"positional,omitempty"`
		Default    string   `json:"default,omitempty"`
		Allowed    []string `json:"allowed,omitempty"`
		Limits     string   `json:"limits,omitempty"` // in words
		Group      string   `json:"group,omitempty"`
	}
	jsonResult struct {
		Type   string      `json:"type"`
		Fields []jsonField `json:"fields,omitempty"`
	}
	jsonField struct {
		Name string `json:"name"`
		Type string `json:"type"`
		Help string `json:"help"`
	}
	jsonNeed struct {
		Kind    string `json:"kind"`
		Name    string `json:"name"`
		Install string `json:"install,omitempty"`
	}
	jsonModule struct {
		Name    string       `json:"name"`
		Help    string       `json:"help"`
		Exports []jsonExport `json:"exports"`
	}
	jsonExport struct {
		Kind  string `json:"kind"`
		Name  string `json:"name"`
		Usage string `json:"usage"`
		Help  string `json:"help"`
	}
	jsonFunction struct {
		Name  string `json:"name"`
		Usage string `json:"usage"`
		Help  string `json:"help"`
	}
)

// JSONShape describes what JSON writes, for help texts.
const JSONShape = `{calls: [{name, kind (action, probe), family, summary, signature, example,
   arguments: [{name, type, help, required?, positional?, default?, allowed?, limits?, group?}],
   result?: {type, fields?: [{name, type, help}]}, needs?: [{kind, name, install?}],
   selects?, streaming?, undo?, undo_argument?, lifetime?, irreversible?, harmless?, spares?}],
 functions: [{name, usage, help}],
 modules?: [{name, help, exports: [{kind (param, let, probe, action), name, usage, help}]}]}`

// JSON writes a topic for programs: all details of its calls, whatever its depth.
func JSON(w io.Writer, t Topic) error {
	out := jsonTopic{Calls: []jsonCall{}, Functions: []jsonFunction{}}
	for _, c := range t.Calls {
		out.Calls = append(out.Calls, jsonOf(c))
	}
	for _, f := range t.Functions {
		out.Functions = append(out.Functions, jsonFunction(f))
	}
	for _, m := range t.Modules {
		module := jsonModule{Name: m.Name, Help: m.Help, Exports: []jsonExport{}}
		for _, e := range m.Exports {
			module.Exports = append(module.Exports, jsonExport(e))
		}
		out.Modules = append(out.Modules, module)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

func jsonOf(c *spec.Call) jsonCall {
	name, args := Signature(c)
	out := jsonCall{Name: c.Name, Kind: c.Kind, Family: FamilyOf(c.Name), Summary: c.Summary, Signature: name + "(" + strings.Join(args, ", ") + ")",
		Example: c.Example, Arguments: []jsonParam{}, Selects: c.Selects, Streaming: c.Streaming, Undo: c.Undo, UndoArgument: c.UndoArg,
		Lifetime: c.Lifetime, Harmless: c.Harmless, Spares: c.Spares, Irreversible: c.Kind == spec.Action && c.Undo == "" && !c.Harmless}
	for _, p := range c.Params {
		out.Arguments = append(out.Arguments, jsonParam{Name: p.Name, Type: TypeName(p.Type), Help: p.Help, Required: p.Required, Positional: p.Positional,
			Default: Default(p), Allowed: p.Enum, Limits: p.Limits.String(), Group: p.Group})
	}
	if c.Result != nil {
		out.Result = &jsonResult{Type: TypeName(c.Result)}
		for _, f := range fields(c.Result, "") {
			out.Result.Fields = append(out.Result.Fields, jsonField{f.path, TypeName(f.typ), f.help})
		}
	}
	for _, n := range c.Needs {
		out.Needs = append(out.Needs, jsonNeed{n.Kind, n.Name, n.Install})
	}
	return out
}
