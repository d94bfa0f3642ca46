package repl

import (
	"bytes"
	"testing"

	"chaos/lang/value"
)

func TestAListOfAStructIsATable(t *testing.T) {
	type file struct {
		Path string `chaos:"path"`
		N    *int   `chaos:"n"`
	}
	type sample struct {
		Files []file `chaos:"files" help:"what there is"`
		Lost  int    `chaos:"lost"`
	}
	seven := 7
	for _, c := range []struct {
		files []file
		width int
		want  string
	}{
		{[]file{{"/a\x1b[2J", &seven}, {"/longer", nil}}, 80, "  files     what there is\n    path     n\n    /a[2J    7\n    /longer  –\n  lost   0\n"},
		{[]file{{"/a/path/that/is/too/long/for/the/room", &seven}}, 40, "  files     what there is\n    path                               n\n    /a/path/that/is/too/long/for/the…  7\n  lost   0\n"},
		{nil, 80, "  files  none  what there is\n  lost   0\n"},
	} {
		var out bytes.Buffer
		v := &view{w: &out, columns: func() int { return c.width }, hide: func(s string) string { return s }}
		v.value(value.Encode(sample{c.files, 0}))
		if out.String() != c.want {
			t.Errorf("it prints\n%s\nwant\n%s", out.String(), c.want)
		}
	}
}
