package vt

import "testing"

func TestATerminalShowsWhatWasWritten(t *testing.T) {
	for _, tc := range []struct{ name, output, text string }{
		{"lines", "one\r\ntwo\r\n", "one\ntwo"},
		{"drawn over", "one\r\ntwo\r\n\r\x1b[2ANEW\x1b[K\r\n\x1b[J", "NEW"},
		{"wrapped", "0123456789abc", "0123456789\nabc"},
		{"full but not wrapped", "0123456789\r\nx", "0123456789\nx"},
		{"wide letters", "一二三四五六\r\n", "一二三四五\n六"},
		{"colours", "\x1b[1;31mred\x1b[0m", "red"},
		{"up no further than the screen", "1\r\n2\r\n3\r\n4\r\n5\x1b[9A\rX", "1\n2\nX\n4\n5"},
	} {
		term := New(10, 3)
		for _, b := range []byte(tc.output) { // cut anywhere
			term.Write([]byte{b})
		}
		if got := term.Text(); got != tc.text {
			t.Errorf("%s: got\n%s\nwant\n%s", tc.name, got, tc.text)
		}
	}
}

func TestAResizedTerminalFoldsItsLinesAnew(t *testing.T) {
	term := New(10, 4)
	term.Write([]byte("0123456789abc\r\nshort\r\n"))
	term.Resize(5, 4)
	if got, want := term.Text(), "01234\n56789\nabc\nshort"; got != want {
		t.Errorf("narrower: got\n%s\nwant\n%s", got, want)
	}
	term.Write([]byte("\x1b[1ALONG"))
	term.Resize(20, 4)
	if got, want := term.Text(), "0123456789abc\nLONGt"; got != want {
		t.Errorf("wider: got\n%s\nwant\n%s", got, want)
	}
}
