package httpmsg

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"chaos/lang/value"
)

func TestAMessageSurvivesTheJournal(t *testing.T) {
	m, err := Compose("put", "http://user:pass@example.test/a?b=c#d", map[string]value.Value{"host": value.StringOf("virtual.test"), "X-N": value.NumberOf(3)}, Content{Text: "bödy"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var again Message
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	r, err := again.Request()
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	user, pass, _ := r.BasicAuth()
	if r.Method != "PUT" || r.URL.String() != "http://example.test/a?b=c" || r.Host != "virtual.test" || user != "user" || pass != "pass" ||
		r.Header.Get("X-N") != "3" || string(body) != "bödy" || r.ContentLength != int64(len(body)) || again.Peer() != "example.test:80" {
		t.Errorf("it is %+v with %q", r, body)
	}
}

func TestContents(t *testing.T) {
	list := value.ListValue(value.TNumber, value.NumberOf(1), value.NumberOf(2))
	object := value.Value{T: value.MapOf(value.TAny), V: map[string]value.Value{"a": list}}
	for want, c := range map[string]Content{
		" ":                            {},
		" x":                           {Text: "x"},
		`application/json {"a":[1,2]}`: {JSON: &object},
		"application/x-www-form-urlencoded a=1&a=2": {Form: map[string]value.Value{"a": list}},
	} {
		m, err := Compose("POST", "https://example.test", nil, c)
		if got := m.Header.Get("Content-Type") + " " + string(m.Body); err != nil || got != want || m.Peer() != "example.test:443" {
			t.Errorf("%s, want %s (%v)", got, want, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for want, c := range map[string]struct {
		method, url string
		headers     map[string]value.Value
	}{
		"`url`: \"example.test/a\" has no scheme; write \"http://example.test/a\"": {"GET", "example.test/a", nil},
		"`url`: \"http://\" names no host":                                         {"GET", "http://", nil},
		"`url`: \"file:///etc/passwd\" is neither http nor https":                  {"GET", "file:///etc/passwd", nil},
		"`method`: \"\" is no HTTP method":                                         {"", "http://x", nil},
		"`headers`: \"a b\" is no header name":                                     {"GET", "http://x", map[string]value.Value{"a b": value.StringOf("x")}},
		"`headers`: the value of A must be one line":                               {"GET", "http://x", map[string]value.Value{"A": value.StringOf("x\r\nB: y")}},
	} {
		if _, err := Compose(c.method, c.url, c.headers, Content{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
