package token

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Escape reads the escape that a text starts with: the character, how many bytes it took, and for a bad one what to write instead.
func Escape(s string) (r rune, n int, hint string, ok bool) {
	const known = "escapes are \\n \\t \\r \\\\ \\\" \\xHH \\uHHHH and \\u{…}"
	if len(s) < 2 {
		return 0, len(s), known, false
	}
	switch s[1] {
	case 'n':
		return '\n', 2, "", true
	case 't':
		return '\t', 2, "", true
	case 'r':
		return '\r', 2, "", true
	case '\\', '"':
		return rune(s[1]), 2, "", true
	case '$':
		return 0, 2, "write `$${` for a plain `${`", false
	case 'x':
		return hex(s, 2, 2, 2, known)
	case 'u':
		if strings.HasPrefix(s[2:], "{") {
			stop := strings.IndexByte(s, '}')
			if stop < 0 {
				return 0, 2, known, false
			}
			r, _, hint, ok = hex(s[:stop], 3, 1, 6, known)
			return r, stop + 1, hint, ok && len(s[3:stop]) <= 6
		}
		return hex(s, 2, 4, 4, known)
	}
	_, size := utf8.DecodeRuneInString(s[1:])
	if strings.IndexByte("dDwWsSbBpP.*+?()[]{}^|/-", s[1]) >= 0 {
		return 0, 1 + size, "a regular expression is best written in single quotes: '…'", false
	}
	return 0, 1 + size, known, false
}

// hex reads least to most hexadecimal digits at an offset.
func hex(s string, at, least, most int, known string) (rune, int, string, bool) {
	n := at
	for n < len(s) && n < at+most && strings.IndexByte("0123456789abcdefABCDEF", s[n]) >= 0 {
		n++
	}
	x, err := strconv.ParseUint(s[at:n], 16, 32)
	if err != nil || n-at < least || !utf8.ValidRune(rune(x)) {
		return 0, n, known, false
	}
	return rune(x), n, "", true
}
