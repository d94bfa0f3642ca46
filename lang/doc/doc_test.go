package doc

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"chaos/lang/spec"
	"chaos/lang/value"
)

var update = flag.Bool("update", false, "write the golden files anew")

type catalogue map[string]*spec.Call

func (c catalogue) Call(name string) (*spec.Call, bool) { s, ok := c[name]; return s, ok }

func (c catalogue) Names() []string {
	var out []string
	for n := range c {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// fakes are an action and a probe with one of everything, and a few small ones.
func fakes() *Reference {
	type selector struct {
		Target value.Handle `chaos:"target,positional,group=target" help:"what to slow down, as bound with as"`
		Port   *int         `chaos:"port,group=target" help:"the port | socket that it listens on"`
	}
	type slowArgs struct {
		selector
		Delay     time.Duration `chaos:"delay,required" help:"how much later each packet is sent"`
		Direction string        `chaos:"direction" default:"out" enum:"in out both" help:"which way"`
		Codes     []int         `chaos:"codes" default:"[0]" help:"exit codes that count as success"`
		Share     value.RatioV  `chaos:"share" help:"of the packets; without it all of them, which is what one wants when a whole host is to look far away"`
	}
	type row struct {
		Name string `chaos:"name" help:"its name"`
	}
	type answer struct {
		OK      bool           `chaos:"ok" help:"an answer came"`
		Latency *time.Duration `chaos:"latency" help:"how long it took; absent without an answer"`
		Value   float64        `chaos:"value,anyunit" help:"what the *query* says"`
		Rows    []row          `chaos:"rows" help:"one a series"`
	}
	slow := &spec.Call{Kind: spec.Action, Name: "net.slow", Summary: "Delays packets; those of `chaos` itself are left alone.", Params: spec.ParamsOf(reflect.TypeFor[slowArgs]()),
		Example: `net.slow(port: 5432, delay: 100ms, direction: "both, or so", share: 50%, codes: [0, 1]) for 10s`, Selects: true, Undo: "remove the rule", Lifetime: "kernel", Result: value.THandle,
		Needs: []spec.Need{{Kind: "privilege", Name: "CAP_NET_ADMIN", Install: "run as root"}, {Kind: "tool", Name: "nft"}}}
	get := &spec.Call{Kind: spec.Probe, Name: "web.get", Summary: "Asks and shows the answer.", Example: `probe home = web.get("http://127.0.0.1/") every 1s`,
		Params: spec.ParamsOf(reflect.TypeFor[struct {
			URL     string        `chaos:"url,required,positional" help:"where to ask"`
			Timeout time.Duration `chaos:"timeout" default:"5s" help:"how long one answer may take"`
		}]()), Result: value.TypeOf(reflect.TypeFor[answer]())}
	run := &spec.Call{Kind: spec.Action, Name: "web.run", Summary: "Runs something.", Example: "web.run()", Undo: "run what `undo` says", UndoArg: "undo", Lifetime: "guardian"}
	kill := &spec.Call{Kind: spec.Action, Name: "net.kill", Summary: "Kills it: for ever, with all that it has and with everything that hangs on it besides.", Example: "net.kill()", Lifetime: "irreversible"}
	say := &spec.Call{Kind: spec.Action, Name: "say", Summary: "Says it.", Example: `say("x")`, Harmless: true}
	load := &spec.Call{Kind: spec.Probe, Name: "web.load", Summary: "Asks all the time.", Example: "probe load = web.load()", Streaming: true, Result: value.TNumber}
	c := catalogue{}
	for _, s := range []*spec.Call{slow, get, run, kill, say, load} {
		c[s.Name] = s
	}
	return New(c, []Function{{"abs", "abs(x)", "The value without its sign."}, {"len", "len(x)", "The number of characters, elements or keys of what is given, whatever it is."}})
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s is not what is written now; if that is right: go test ./lang/doc -update\n%s", path, got)
	}
}

func TestGolden(t *testing.T) {
	ref := fakes()
	for _, name := range []string{"", "net", "net.slow", "web.get", "web.run", "net.kill", "say", "web.load", "functions", "len"} {
		topic, err := ref.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		file := name
		if name == "" {
			file = "index"
		}
		var text, md, js bytes.Buffer
		if err := Text(&text, topic, nil); err != nil {
			t.Fatal(err)
		}
		for i, l := range strings.Split(text.String(), "\n") {
			if n := utf8.RuneCountInString(l); n > width || strings.TrimRight(l, " ") != l {
				t.Errorf("%q: line %d has %d columns: %q", name, i+1, n, l)
			}
		}
		golden(t, file+".txt", text.Bytes())
		if name != "net.slow" && name != "web.get" && name != "" && name != "functions" {
			continue
		}
		if err := Markdown(&md, topic); err != nil {
			t.Fatal(err)
		}
		golden(t, file+".md", md.Bytes())
		if err := JSON(&js, topic); err != nil {
			t.Fatal(err)
		}
		golden(t, file+".json", js.Bytes())
	}
}

// Without its colours a text is the plain text.
func TestColoursOnlyAdd(t *testing.T) {
	ref := fakes()
	for _, e := range append(ref.Entries(), Entry{}) {
		topic, err := ref.Find(e.Name)
		if err != nil {
			t.Fatal(err)
		}
		var plain, coloured bytes.Buffer
		Text(&plain, topic, nil)
		Text(&coloured, topic, func(_, text string) string { return "\x1b[1m" + text + "\x1b[0m" })
		if got := regexp.MustCompile("\x1b\\[[01]m").ReplaceAllString(coloured.String(), ""); got != plain.String() {
			t.Errorf("%s:\n%s", e.Name, got)
		}
	}
}

func TestFind(t *testing.T) {
	ref := fakes()
	for name, want := range map[string]string{
		"web.gte":   "did you mean `web.get`?",
		"web.zzzzz": "there are `web.get`, `web.load`, `web.run`",
		"wbe":       "did you mean `web`?",
		"lenn":      "did you mean `len`?",
		"function":  "did you mean `functions`?",
		"elephants": "without a name, all of them are listed",
	} {
		if _, err := ref.Find(name); err == nil || !strings.Contains(err.Error(), "`"+name+"`") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if topic, err := ref.Find("web.get()"); err != nil || topic.Name != "web.get" {
		t.Errorf("with brackets: %v, %v", topic.Name, err)
	}
	if topic, _ := ref.Find("say"); topic.Depth != Single {
		t.Error("a call that is its own family is shown as a family")
	}
}

func TestPages(t *testing.T) {
	pages := fakes().Pages()
	var names []string
	for name, text := range pages {
		names = append(names, name)
		if !strings.HasPrefix(text, Generated) {
			t.Errorf("%s does not say that it is generated", name)
		}
	}
	slices.Sort(names)
	if want := []string{"README.md", "functions.md", "net.md", "say.md", "web.md"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if !strings.Contains(pages["README.md"], "[net.slow](net.md#netslow)") || !strings.Contains(pages["net.md"], "\n## net.slow\n") {
		t.Error("the index does not lead to the page")
	}
	golden(t, "page.md", []byte(pages["net.md"]))
}

func TestJSONHasWhatTheShapeSays(t *testing.T) {
	topic, _ := fakes().Find("")
	var buf bytes.Buffer
	if err := JSON(&buf, topic); err != nil {
		t.Fatal(err)
	}
	var got struct{ Calls []map[string]any }
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	for _, c := range got.Calls {
		for key := range c {
			if !strings.Contains(JSONShape, key) {
				t.Errorf("the help does not name `%s`", key)
			}
		}
	}
}

func TestBreakStatement(t *testing.T) {
	for in, want := range map[string][]string{
		`a(1, 2)`:               {`a(1, 2)`},
		`aaaa("x, y", bbbb, c)`: {`aaaa("x, y",`, `bbbb, c)`},
		`aaaa("\", y", 'b, b')`: {`aaaa("\", y",`, `'b, b')`},
		`probe p, q`:            {`probe p, q`},
	} {
		if got := breakStatement(in, 13); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestModulesSayWhatTheyGive(t *testing.T) {
	modules, err := Modules(fstest.MapFS{"shop.chaos": {Data: []byte("// The shop. It sells.\n//\n//     use \"std/shop\"\n\n// Not a part of it.\n\n// Where it is.\nparam url = \"http://shop/\"\n\n// It | sells.\nlet open = door.ok\nprobe door(\n  at: string = url, // here\n) = web.get(at)\naction close(for_time: duration) { log(1) }\n")}})
	if err != nil {
		t.Fatal(err)
	}
	ref := fakes().With(modules)
	if m := modules[0]; m.Help != "The shop. It sells.\n\n    use \"std/shop\"" || m.Brief() != "The shop" {
		t.Errorf("%q, %q", m.Help, m.Brief())
	}
	var got []string
	for _, e := range modules[0].Exports {
		got = append(got, e.Name+" "+e.Usage+" "+e.Help)
	}
	want := []string{
		`shop.url param url = "http://shop/" Where it is.`, "shop.open let open = door.ok It | sells.",
		"shop.door probe door(at: string = url) ", "shop.close action close(for_time: duration) ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, name := range []string{"std", "std/shop", "shop", "shop.close"} {
		topic, err := ref.Find(name)
		if err != nil || len(topic.Modules) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		for what, write := range map[string]func(*bytes.Buffer) error{
			"text": func(b *bytes.Buffer) error { return Text(b, topic, nil) }, "plain": func(b *bytes.Buffer) error { return Plain(b, topic) },
			"md": func(b *bytes.Buffer) error { return Markdown(b, topic) }, "json": func(b *bytes.Buffer) error { return JSON(b, topic) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil || !strings.Contains(b.String(), "shop") {
				t.Errorf("%s as %s: %v\n%s", name, what, err, b.String())
			}
		}
	}
	if pages := ref.Pages(); !strings.Contains(pages["std.md"], "| `let open = door.ok` | It \\| sells. |") || !strings.Contains(pages["README.md"], "[std/shop](std.md#stdshop)") {
		t.Error(pages["std.md"])
	}
	if _, err := Modules(fstest.MapFS{"bad.chaos": {Data: []byte("let =")}}); err == nil {
		t.Error("a broken module is read")
	}
}
