package check

import (
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"chaos/lang/check/checktest"
	"chaos/lang/diag"
	"chaos/lang/syntax"
)

const manyParams = `
-- main.chaos --
use "./slo.chaos" as goals
param patience: duration
param name = "x"
param mode = "fast" in ["fast", "slow"]
param steps = [1ms, 10ms]
param share: ratio = 5%
param on = false
param count = 3
param labels = {team: "a"}
param rps: rate = 5/s
-- slo.chaos --
use "./deep.chaos"
param window = 5m
let twice = 2 * window + deep.base
-- deep.chaos --
param base = 1s
`

func bindable(t *testing.T, text string) *Script {
	t.Helper()
	opts, main := archive(txtar.Parse([]byte(text)))
	file, ds := syntax.Parse(main)
	script, more := File(file, checktest.New(), opts)
	if list := append(diag.List(ds), more...); len(list) > 0 {
		t.Fatal(list)
	}
	return script
}

func TestParamFiles(t *testing.T) {
	script := bindable(t, manyParams)
	for _, c := range []struct {
		file, text string
		want       string // the values, or a part of each message behind its position
	}{
		{"p.yaml", "patience: 2s\nname: a b\nmode: slow\nsteps: [10ms, 2s]\nshare: 20%\non: true\ncount: 7\nlabels: {team: b}\nrps: 200/s\ngoals:\n  window: 1m\n", `1s 1m 2s "a b" "slow" [10ms, 2s] 20% true 7 {team: "b"} 200/s`},
		{"p.json", `{"patience": "2s", "name": "a b", "mode": "slow", "steps": ["10ms", "2s"], "share": 0, "on": true, "count": 7e2, "labels": {"team": "b"}, "goals": {"window": "1m", "deep": {"base": "2s"}}}`, `2s 1m 2s "a b" "slow" [10ms, 2s] 0% true 700 {team: "b"} 5/s`},
		{"p.json", "{\t\"patience\": \"2s\",\n\t\"goals.window\": \"1m\"\n}", `1s 1m 2s "x" "fast" [1ms, 10ms] 5% false 3 {team: "a"} 5/s`},
		{"p.yaml", "patience: \"2s\" # how long\nname: |\n  two\n  lines\n", `1s 5m 2s "two\nlines\n" "fast" [1ms, 10ms] 5% false 3 {team: "a"} 5/s`},
		{"p.yaml", "", "E308 m:2:7 has no value"},
		{"p.yaml", "patience: 5\n", "E308 p:1:11 the parameter `patience` wants a duration, and this is the number `5`: write a literal of the language in quotes, such as \"100ms\""},
		{"p.yaml", "patience: 5s\nsteps: [1s, 2]\n", "E308 p:2:13 wants a list of duration, and one of its values is the number `2`"},
		{"p.yaml", "patience: 5s\nname: 12\n", "E308 p:2:7 wants a string, and this is the number `12`: write it in quotes: \"12\""},
		{"p.json", `{"patience": "5s", "count": 1e999}`, "E308 p:1:29 the parameter `count` wants a number, and `1e999` is out of range"},
		{"p.yaml", "patience: 5s\n\tcount: 3\n", "E308 p:2:1 this is not YAML: the line starts with a tab: YAML is indented with blanks only"},
		{"p.yaml", "patience: 5s\ncount: 010\n", "E308 p:2:8 `010` is octal in YAML, the number 8: write `8` or `10`"},
		{"p.yaml", "patience: 5s\ncount: 0\nname: \"010\"\n", `1s 5m 5s "010" "fast" [1ms, 10ms] 5% false 0 {team: "a"} 5/s`},
		{"p.yaml", "patience: 5s\non: yes\n", "E308 p:2:5 wants a bool, and this is the text \"yes\": such as true"},
		{"p.yaml", "patience: 5s\nname:\n", "E308 p:2:7 wants a string, and this is nothing"},
		{"p.yaml", "patience: 5s\nnaem: x\n", "E308 p:2:1 no parameter `naem`: did you mean `name`"},
		{"p.yaml", "patience: 5s\ngoals:\n  windo: 1s\n", "E308 p:3:3 no parameter `goals.windo`: did you mean `goals.window`"},
		{"p.yaml", "patience: 5s\nmode: odd\n", "E308 p:2:7 `mode` may not be \"odd\""},
		{"p.yaml", "patience: &a 5s\nname: *a\n", "E308 p:1:11 more than plain values"},
		{"p.yaml", "- a\n", "E308 p:1:1 holds names and their values, and this is a list"},
		{"p.yaml", "a: [1\n", "E308 p:1:4 not YAML"},
		{"p.json", "{\n  \"patience\": 5s\n}", "E308 p:2:15 not JSON"},
		{"p.json", `{"patience": "5s", "patience": "6s"}`, "E206 p:1:20 `patience` is given twice"},
		{"p.json", `{"patience": "5s", "goals": {"window": "1m"}, "goals.window": "2m"}`, "E206 p:1:47 `goals.window` is given twice"},
		{"p.json", `{"patience": "5s"} {`, "E308 p:1:19 behind the end"},
		{"p.json", ``, "E308 p:1:1 too early"},
	} {
		f, ds := ReadParams(diag.NewSource(c.file, c.text))
		var b Bound
		if len(ds) == 0 {
			b, ds = Bind(script, script.Params, Given{File: f})
		}
		if len(ds) > 0 {
			code, rest, _ := strings.Cut(c.want, " ")
			place, message, _ := strings.Cut(rest, " ")
			got := ds[0].Message + ": " + ds[0].Hint
			at := strings.NewReplacer("p.yaml", "p", "p.json", "p", "main.chaos", "m").Replace(ds[0].Span.String())
			if len(ds) > 1 || string(ds[0].Code) != code || at != place || !strings.Contains(got, message) {
				t.Errorf("%q: %v, want %s", c.text, diag.List(ds), c.want)
			}
			continue
		}
		var parts []string
		for _, p := range script.Params {
			parts = append(parts, b.Params[p.Name].String())
		}
		if s := strings.Join(parts, " "); s != c.want {
			t.Errorf("%q: %s, want %s", c.text, s, c.want)
		}
	}
}

func TestPrecedenceOfParams(t *testing.T) {
	script := bindable(t, "\n-- main.chaos --\nuse \"./m.chaos\"\nparam a = \"default\"\nparam b = \"default\"\nparam c = \"default\"\nparam d = \"default\"\nlet x = m.p\n-- m.chaos --\nparam p = \"default\"\n")
	f, _ := ReadParams(diag.NewSource("p.yaml", "a: file\nb: file\n"))
	env := map[string]string{"CHAOS_PARAM_a": "env", "CHAOS_PARAM_b": "env", "CHAOS_PARAM_c": "env", "CHAOS_PARAM_m__p": "env"}
	b, ds := Bind(script, script.Params, Given{Flags: map[string]string{"a": "flag"}, File: f, Env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }})
	if len(ds) > 0 {
		t.Fatal(diag.List(ds))
	}
	for name, want := range map[string]string{"a": "flag", "b": "file", "c": "env", "d": "default", "m.p": "env"} {
		if got := b.Params[name].Text(); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestSecretsAreBound(t *testing.T) {
	script := bindable(t, "\n-- main.chaos --\nparam token = \"Bearer ${secret(\"TOKEN\")}\"\nprobe p = http.get(\"http://a/\", headers: {A: token, B: secret(\"OTHER\")})\n")
	secrets := map[string]string{"TOKEN": "t0ps3cret", "OTHER": "hunter2"}
	find := func(n string) (string, bool) { v, ok := secrets[n]; return v, ok }
	b, ds := Bind(script, script.Params, Given{Secret: find})
	if len(ds) > 0 || b.Params["token"].Text() != "Bearer t0ps3cret" || b.Secrets["OTHER"] != "hunter2" || len(b.Hidden) != 3 {
		t.Errorf("%+v, %v", b, ds)
	}
	b, ds = Bind(script, script.Params, Given{Flags: map[string]string{"token": "given"}, Secret: find})
	if len(ds) > 0 || b.Hidden["token"] != "given" || b.Secrets["TOKEN"] != "" {
		t.Errorf("a value given for a secret parameter: %+v, %v", b, ds)
	}
	for want, change := range map[string]func(){
		"the secret `TOKEN` is not set":                func() { delete(secrets, "TOKEN") },
		"the secret `OTHER` is empty":                  func() { secrets["TOKEN"], secrets["OTHER"] = "long enough", "" },
		"the secret `OTHER` is too short to be hidden": func() { secrets["OTHER"] = "abc" },
	} {
		secrets = map[string]string{"TOKEN": "t0ps3cret", "OTHER": "hunter2"}
		change()
		if want == "the secret `OTHER` is too short to be hidden" {
			secrets["TOKEN"] = "long enough"
		}
		_, ds = Bind(script, script.Params, Given{Secret: find})
		if len(ds) != 1 || ds[0].Code != diag.NoSecret || ds[0].Message != want || strings.Contains(ds[0].Error(), "abc") {
			t.Errorf("%v, want %s", ds, want)
		}
	}
}

// A value of a secret parameter is shown nowhere: neither where it does not fit, nor where it is part of a list or a map.
func TestSecretsFromOutsideAreNotShown(t *testing.T) {
	script := bindable(t, "\n-- main.chaos --\nparam key = secret(\"KEY\") in [\"blue1\", \"green\"]\nparam head = {auth: secret(\"AUTH\"), kind: \"json\"}\n")
	find := func(string) (string, bool) { return "hunter2", true }
	for flags, want := range map[*map[string]string]string{
		{}:                                  "`key` may not be this secret",
		{"key": "hunter2"}:                  "`key` may not be this secret",
		{"key": "green", "head": "hunter2"}: "`…` is no map of string, which the parameter `head` wants",
	} {
		_, ds := Bind(script, script.Params, Given{Flags: *flags, Secret: find})
		if text := diag.List(ds).Error(); len(ds) != 1 || ds[0].Message != want || strings.Contains(text, "hunter2") {
			t.Errorf("%v: %s, want %s", *flags, text, want)
		}
	}
	b, ds := Bind(script, script.Params, Given{Flags: map[string]string{"key": "green", "head": `{auth: "hunter2", kind: "x"}`}, Secret: find})
	if len(ds) > 0 || b.Hidden["head.auth"] != "hunter2" {
		t.Errorf("%v, %v", b.Hidden, ds)
	}
}

// What is too short to be hidden is refused where the default says that a secret stands there, and nowhere else.
func TestShortTextsInSecretLists(t *testing.T) {
	script := bindable(t, "\n-- main.chaos --\nparam head = {auth: secret(\"AUTH\"), kind: \"json\"}\nparam keys = [secret(\"A\")]\nparam both = [secret(\"A\"), \"GET\"]\n")
	find := func(string) (string, bool) { return "hunter2", true }
	for _, c := range []struct{ param, text, want string }{
		{"head", `{auth: "abc", kind: "x"}`, "the secret `head.auth` is too short to be hidden"},
		{"head", `{auth: "", kind: "x"}`, "the secret `head.auth` is too short to be hidden"},
		{"head", `{auth: "abcd", kind: "x", more: "y"}`, ""},
		{"head", `{kind: "x"}`, ""},
		{"keys", `["abcd", "abc"]`, "the secret `keys[1]` is too short to be hidden"},
		{"both", `["abcd", "PUT", "x"]`, ""},
	} {
		_, ds := Bind(script, script.Params, Given{Flags: map[string]string{c.param: c.text}, Secret: find})
		got := ""
		if len(ds) > 0 {
			got = ds[0].Message
		}
		if got != c.want || len(ds) > 1 {
			t.Errorf("%s=%s: %v, want %q", c.param, c.text, ds, c.want)
		}
	}
	if _, ds := Bind(script, script.Params, Given{Secret: func(string) (string, bool) { return "", true }}); len(ds) != 2 { // AUTH and A
		t.Errorf("empty secrets: %v", ds)
	}
}

func FuzzParamFile(f *testing.F) {
	f.Add("patience: 2s\ngoals: {window: [1, {a: b}]}\n", false)
	f.Add(`{"patience": "2s", "labels": {"x": null}}`, true)
	f.Fuzz(func(t *testing.T, text string, isJSON bool) {
		name := "p.yaml"
		if isJSON {
			name = "p.json"
		}
		if _, bad := syntax.Encoding(name, []byte(text)); bad {
			return
		}
		file, ds := ReadParams(diag.NewSource(name, text))
		if len(ds) > 0 {
			return
		}
		opts, main := archive(txtar.Parse([]byte(manyParams)))
		tree, _ := syntax.Parse(main)
		script, _ := File(tree, checktest.New(), opts)
		Bind(script, script.Params, Given{File: file})
	})
}
