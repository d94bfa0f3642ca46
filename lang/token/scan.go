package token

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// MaxDepth is how deeply brackets may nest. Deeper input is refused here, before any recursive stage sees it.
const MaxDepth = 200

// MaxTokens is how many words, signs, comments and line ends a file may have. It bounds the time that checking takes.
const MaxTokens = 500_000

// operators, longest first.
var operators = []string{"??", "?.", "..", "**", "==", "!=", "<=", ">=", "&&", "||", "+", "-", "*", "/", "%", "^", "<", ">", "!", "?", "|", "#"}

// Scan splits a whole file.
func Scan(src *diag.Source) *List { return ScanRange(src, 0, len(src.Text)) }

// ScanRange splits a part of a source, such as what stands in `${…}`; positions are those of the source.
func ScanRange(src *diag.Source, from, to int) *List {
	s := &scanner{src: src, text: src.Text[:to], pos: from, from: from}
	s.run(from)
	l := &List{Source: src, All: s.all, Diags: s.diags}
	l.Tokens = endStatements(s.all, to)
	return l
}

type scanner struct {
	src    *diag.Source
	text   string
	pos    int
	all    []Token // Newline and `;` come as End tokens here
	diags  []diag.Diagnostic
	from   int
	depth  int
	open   []byte // the brackets around the present position
	toDeep bool

	merging bool // between the marks of a merge
	noClose bool // no `*/` follows: it is looked for once, not for each `/*`
}

func (s *scanner) emit(k Kind, start int) {
	s.all = append(s.all, Token{Kind: k, Text: s.text[start:s.pos], Off: start})
}

func (s *scanner) fail(code diag.Code, start int, hint, format string, args ...any) {
	if len(s.diags) >= diag.Most && code != diag.TooDeep {
		return
	}
	d := diag.Errorf(code, s.src.Span(start, max(s.pos, start+1)), format, args...)
	d.Hint = hint
	s.diags = append(s.diags, d)
}

func (s *scanner) run(from int) {
	if from == 0 && strings.HasPrefix(s.text, "\ufeff") { // a byte order mark, as some editors write it
		s.pos = len("\ufeff")
	}
	if strings.HasPrefix(s.text[s.pos:], "#!") {
		start := s.pos
		s.toLineEnd()
		s.emit(Comment, start)
	}
	for s.pos < len(s.text) {
		if len(s.all) >= MaxTokens {
			start := s.pos
			s.fail(diag.TooDeep, start, "split it into several files: `use` joins them", "a script has at most %d words and signs", MaxTokens)
			s.pos = len(s.text)
			s.emit(Error, start)
			return
		}
		start := s.pos
		c := s.text[s.pos]
		switch {
		case c == '\n' || c == ';':
			s.pos++
			s.emit(End, start)
		case c == ' ' || c == '\t' || c == '\r':
			s.pos++
		case (c == '<' || c == '=' || c == '>' || c == '|') && s.mergeMark(start):
		case strings.HasPrefix(s.text[s.pos:], "//"):
			s.toLineEnd()
			s.emit(Comment, start)
		case strings.HasPrefix(s.text[s.pos:], "/*"):
			s.blockComment(start)
		case isLetter(c):
			for s.pos < len(s.text) && (isLetter(s.text[s.pos]) || isDigit(s.text[s.pos])) {
				s.pos++
			}
			if s.bareURL(start) {
				continue
			}
			s.emit(Name, start)
		case isDigit(c):
			s.number()
		case c == '"' || c == '`' || c == '\'':
			s.str(c)
		case strings.IndexByte("()[]{},:=.", c) >= 0 && !strings.HasPrefix(s.text[s.pos:], "==") && !strings.HasPrefix(s.text[s.pos:], ".."):
			s.pos++
			s.emit(Punct, start)
			s.nest(c, start)
		default:
			s.operator(start)
		}
	}
}

func (s *scanner) nest(c byte, start int) {
	switch c {
	case '(', '[', '{':
		s.depth++
		s.open = append(s.open, c)
		if s.depth > MaxDepth && !s.toDeep {
			s.toDeep = true
			s.fail(diag.TooDeep, start, "", "brackets are nested more than %d deep", MaxDepth)
		}
	case ')', ']', '}':
		s.depth--
		for n := len(s.open); c == '}' && n > 1 && s.open[n-1] != '{'; n-- { // ( or [ left open inside a block
			s.open = s.open[:n-1]
		}
		s.open = s.open[:max(len(s.open)-1, 0)]
	}
}

func (s *scanner) toLineEnd() {
	if i := strings.IndexByte(s.text[s.pos:], '\n'); i >= 0 {
		s.pos += i
	} else {
		s.pos = len(s.text)
	}
	if s.pos > 0 && s.text[s.pos-1] == '\r' {
		s.pos--
	}
}

// schemes are those of the URLs that people write without quotes.
var schemes = map[string]bool{"http": true, "https": true, "ftp": true, "ws": true, "wss": true, "tcp": true, "file": true}

// bareURL scans a URL without quotes, of which `//` would make a comment that takes the closing bracket along.
func (s *scanner) bareURL(start int) bool {
	if !schemes[s.text[start:s.pos]] || !strings.HasPrefix(s.text[s.pos:], "://") || s.foreignLine() {
		return false
	}
	holes, rest := 0, s.text[s.pos:]
	end := strings.IndexFunc(rest, func(r rune) bool {
		switch r {
		case '{':
			holes++
		case '}':
			holes--
		}
		return holes < 0 || unicode.IsSpace(r) || strings.ContainsRune("\"'`,;)]", r)
	})
	if end < 0 {
		end = len(rest)
	}
	if end == len("://") {
		return false
	}
	s.pos += end
	s.fail(diag.BadString, start, "write `\""+s.text[start:s.pos]+"\"`", "a URL stands in quotes")
	s.emit(Error, start)
	return true
}

// foreignLine tells that a value cannot stand here, as in `curl http://…` and `export BASE=http://…` of a shell.
func (s *scanner) foreignLine() bool {
	n := len(s.all)
	if n == 0 || s.all[n-1].Kind == Name {
		return n == 0 || s.all[n-1].Text != "use"
	}
	return n > 2 && s.all[n-1].Is("=") && s.all[n-3].Is("export")
}

// blockComment scans a comment of other languages to its end, wherever that is, so that its text is not taken for statements.
func (s *scanner) blockComment(start int) {
	s.pos = start + len("/*")
	kind := Error
	if s.statementStart() {
		kind = Comment
	}
	s.fail(diag.BadCharacter, start, "comments start with `//` and end with their line", "`/*` starts no comment here")
	end := -1
	if !s.noClose {
		end = strings.Index(s.text[s.pos:], "*/")
	}
	if s.noClose = end < 0; s.noClose {
		s.toLineEnd()
	} else {
		s.pos += end + len("*/")
	}
	s.emit(kind, start)
}

func isLetter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// wordEnd tells whether a literal may end at i: no letter, digit or underscore follows.
func (s *scanner) wordEnd(i int) bool {
	if i >= len(s.text) {
		return true
	}
	r, _ := utf8.DecodeRuneInString(s.text[i:])
	return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
}

// number scans a number and the units directly behind it. `200/s` is a rate only if a word ends there; `a/s` is never one.
func (s *scanner) number() {
	start := s.pos
	if n := rangeStart(s.text[s.pos:]); n > 0 { // `1..3`: the number ends before the dots
		s.pos += n
		s.emit(Number, start)
		return
	}
	for {
		n := mantissa(s.text[s.pos:])
		if n == 0 {
			break
		}
		s.pos += n
		u := s.unit()
		s.pos += u
		if u == 0 || s.pos >= len(s.text) || !isDigit(s.text[s.pos]) {
			break
		}
		if s.text[s.pos-1] == '%' { // 10%3
			end := s.pos
			for end < len(s.text) && (isLetter(s.text[end]) || isDigit(s.text[end])) {
				end++
			}
			left, right := s.text[start:s.pos-1], s.text[s.pos:end]
			s.pos = end
			s.fail(diag.BadNumber, start, "write `"+left+" % "+right+"` for the remainder", "`%s` is neither a ratio nor a division", s.text[start:end])
			s.emit(Error, start)
			return
		}
	}
	if !s.wordEnd(s.pos) {
		unitStart := s.pos
		for s.pos < len(s.text) && !s.wordEnd(s.pos) {
			_, size := utf8.DecodeRuneInString(s.text[s.pos:])
			s.pos += size
		}
		bad := s.text[unitStart:s.pos]
		hint := diag.DidYouMean(bad, value.Suffixes())
		if unit, ok := UnitWord(bad); ok {
			hint = "write `" + s.text[start:unitStart] + unit + "`"
		}
		if hint != "" && sizes[bad] != "" { // 512M: megabytes, or mebibytes, or perhaps minutes
			hint = "write `" + s.text[start:unitStart] + sizes[bad] + "B` or `" + s.text[start:unitStart] + sizes[bad] + "iB`"
		}
		if digit := s.text[start:unitStart]; bad == "xx" && len(digit) == 1 { // 5xx
			hint = "write a range: `" + digit + "00 <= x and x <= " + digit + "99`"
		}
		if n, err := strconv.ParseUint(s.text[start:s.pos], 0, 64); err == nil { // 0x1F
			hint = "write it in tens: `" + strconv.FormatUint(n, 10) + "`"
		}
		if hint == "" {
			hint = "units are ns us ms s m h d, %, B kB MB GB KiB MiB GiB, kbit/s Mbit/s, /s /m /h"
		}
		s.fail(diag.BadNumber, start, hint, "`%s` is no number with a unit", s.text[start:s.pos])
		s.emit(Error, start)
		return
	}
	if _, err := value.ParseNumber(s.text[start:s.pos]); err != nil {
		hint := ""
		for _, u := range []string{"s", "ms"} { // 1m30
			if _, err := value.ParseNumber(s.text[start:s.pos] + u); err == nil && hint == "" && isDigit(s.text[s.pos-1]) {
				hint = "write `" + s.text[start:s.pos] + u + "`"
			}
		}
		s.fail(diag.BadNumber, start, hint, "%s", err)
		s.emit(Error, start)
		return
	}
	s.emit(Number, start)
}

// sizes are the letters that other tools have for sizes.
var sizes = map[string]string{"M": "M", "G": "G", "T": "T"}

// rangeStart is the length of the digits before `..`, 0 where none follows.
func rangeStart(s string) int {
	i := 0
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	if strings.HasPrefix(s[i:], "..") {
		return i
	}
	return 0
}

func mantissa(s string) int {
	i := 0
	for i < len(s) && (isDigit(s[i]) || s[i] == '_' && i > 0) {
		i++
	}
	if i == 0 {
		return 0
	}
	if i+1 < len(s) && s[i] == '.' && isDigit(s[i+1]) {
		i++
		for i < len(s) && (isDigit(s[i]) || s[i] == '_') {
			i++
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '+' || s[j] == '-') {
			j++
		}
		if j < len(s) && isDigit(s[j]) {
			for j < len(s) && isDigit(s[j]) {
				j++
			}
			i = j
		}
	}
	return i
}

// suffixes are those of all units.
var suffixes = value.Suffixes()

// unit is the length of the longest unit at the present position behind which a word ends, or behind which the next part
// of a compound duration starts.
func (s *scanner) unit() int {
	rest := s.text[s.pos:]
	best := 0
	for _, u := range suffixes {
		if len(u) <= best || !strings.HasPrefix(rest, u) {
			continue
		}
		after := s.pos + len(u)
		if s.wordEnd(after) || isDigit(s.text[after]) {
			best = len(u)
		}
	}
	return best
}

// str scans a string. In "…" and `…` an interpolation `${…}` may hold brackets and strings of its own.
func (s *scanner) str(quote byte) {
	start := s.pos
	end, ok := SkipString(s.text, s.pos)
	s.pos = end
	if ok {
		s.emit(String, start)
		return
	}
	if at := openHole(s.text[start:end]); quote != '\'' && at >= 0 {
		s.pos = start + at + 2
		s.fail(diag.BadString, start+at, "close it with `}`, or write `$${` for a plain `${`", "this `${` is never closed")
		s.pos = end
		s.emit(Error, start)
		return
	}
	hint := "close it with `" + string(quote) + "` on the same line"
	if quote == '`' {
		hint = "close it with a backtick"
	} else if stop := lineString(s.text, s.pos, quote); stop > 0 {
		s.fail(diag.BadString, start, "write it between backticks, or close it with `"+string(quote)+"` on the same line", "a string in `%c` ends with its line", quote)
		s.pos = stop
		s.emit(Error, start)
		return
	}
	s.fail(diag.BadString, start, hint, "this string is never closed")
	s.emit(Error, start)
}

// maxLines bounds how far the end of a string is looked for that was broken over lines.
const maxLines = 20

// lineString is the offset behind the quote that closes a string which was broken over lines, 0 where it only lacks its
// end: nothing but names, numbers and plain punctuation stand before the quote, and only what may end a statement behind it.
func lineString(text string, i int, quote byte) int {
	for lines := 0; i < len(text) && lines <= maxLines; i++ {
		switch c := text[i]; {
		case c == '\n':
			lines++
		case c == quote:
			rest, _, _ := strings.Cut(text[i+1:], "\n")
			rest = strings.TrimLeft(rest, " \t\r)],")
			word, _, _ := strings.Cut(rest, " ")
			if rest == "" || rest == "{" || Clauses[word] || strings.HasPrefix(rest, "//") {
				return i + 1
			}
			return 0
		case strings.IndexByte("\"'`{}=", c) >= 0:
			return 0
		}
	}
	return 0
}

// openHole is where the interpolation starts that keeps a string from ending, -1 where none does.
func openHole(text string) int {
	for i := 1; i < len(text); {
		switch {
		case text[i] == '\\' && text[0] == '"':
			i += 2
		case strings.HasPrefix(text[i:], "$${"):
			i += 3
		case strings.HasPrefix(text[i:], "${"):
			end, ok := skipHole(text, i+2, text[0], 0)
			if !ok {
				return i
			}
			i = end
		default:
			i++
		}
	}
	return -1
}

// SkipString returns the offset behind the string that starts at i, and whether it is closed. "…" and '…' end at the line's
// end; nesting is followed through `${…}`.
func SkipString(text string, i int) (end int, closed bool) {
	return skipString(text, i, 0)
}

func skipString(text string, i, depth int) (int, bool) {
	quote := text[i]
	i++
	for i < len(text) {
		switch c := text[i]; {
		case c == quote:
			return i + 1, true
		case c == '\n' && quote != '`':
			return i, false
		case c == '\\' && quote == '"' && i+1 < len(text) && text[i+1] != '\n':
			i += 2
		case quote != '\'' && strings.HasPrefix(text[i:], "$${"):
			i += 3
		case quote != '\'' && strings.HasPrefix(text[i:], "${"):
			end, ok := skipHole(text, i+2, quote, depth)
			if !ok {
				return end, false
			}
			i = end
		default:
			i++
		}
	}
	return i, false
}

// skipHole returns the offset behind the `}` that closes an interpolation.
func skipHole(text string, i int, quote byte, depth int) (int, bool) {
	if depth > MaxDepth {
		return len(text), false
	}
	open := 1
	for i < len(text) {
		switch c := text[i]; {
		case c == '\n' && quote != '`':
			return i, false
		case c == '"' || c == '\'' || c == '`':
			end, ok := skipString(text, i, depth+1)
			if !ok {
				return end, false
			}
			i = end
		case c == '{':
			open++
			i++
		case c == '}':
			i++
			if open--; open == 0 {
				return i, true
			}
		default:
			i++
		}
	}
	return i, false
}

func (s *scanner) operator(start int) {
	for _, op := range operators {
		if strings.HasPrefix(s.text[s.pos:], op) {
			if op == "#" && s.statementStart() {
				s.toLineEnd()
				s.fail(diag.BadCharacter, start, "comments start with `//`", "`#` starts no comment here")
				s.all = append(s.all, Token{Kind: Comment, Text: s.text[start:s.pos], Off: start})
				return
			}
			s.pos += len(op)
			s.emit(Op, start)
			return
		}
	}
	if s.curly(start) {
		return
	}
	r, size := utf8.DecodeRuneInString(s.text[s.pos:])
	s.pos += size
	for s.pos < len(s.text) { // one message for a run of the same kind
		next, n := utf8.DecodeRuneInString(s.text[s.pos:])
		if next < utf8.RuneSelf || !unicode.IsLetter(next) || !unicode.IsLetter(r) {
			break
		}
		s.pos += n
	}
	hint := ""
	switch r {
	case '“', '”', '„', '‘', '’':
		hint = "use straight quotes: \"…\""
	case '&':
		hint = "write `and` or `&&`"
	case '–', '—', '−':
		hint = "use the plain minus `-`"
	case '\u00a0':
		hint = "it is a no-break space: use a plain one"
	case '；', '，', '：', '（', '）', '＝', '！', '＞', '＜':
		hint = "use the plain character of your keyboard"
	case '×', '·', '⋅':
		hint = "write `*`"
	case '÷':
		hint = "write `/`"
	case '∧':
		hint = "write `and`"
	case '∨':
		hint = "write `or`"
	case '¬':
		hint = "write `not`"
	case '$':
		hint = "names stand without `$`; in a string write `${name}`"
	case '≤':
		hint = "write `<=`"
	case '≥':
		hint = "write `>=`"
	case '≠':
		hint = "write `!=`"
	case '@':
		hint = "a text stands in quotes: \"…\""
	case '~':
		hint = "write `matches` for a regular expression"
	}
	switch {
	case r < 0x20 || r == utf8.RuneError || r == 0x7f:
		s.fail(diag.BadCharacter, start, hint, "a control character cannot stand here")
	case hint == "" && (unicode.IsSpace(r) || !unicode.IsGraphic(r)): // a zero-width space from a chat or a web page
		s.fail(diag.BadCharacter, start, "it came along with what was pasted: remove it, or write a plain space", "a character that is not seen stands here, U+%04X", r)
	case unicode.IsLetter(r):
		s.fail(diag.BadCharacter, start, "names are made of a-z, A-Z, 0-9 and _", "`%s` cannot stand here", s.text[start:s.pos])
	default:
		s.fail(diag.BadCharacter, start, hint, "`%s` cannot stand here", s.text[start:s.pos])
	}
	s.emit(Error, start)
}

// maxCurly bounds how far the second of two such quotes is looked for.
const maxCurly = 1000

// curly scans a string between the quotes that word processors make, as far as it ends on its line.
func (s *scanner) curly(start int) bool {
	r, size := utf8.DecodeRuneInString(s.text[start:])
	if !strings.ContainsRune("“”„‘’«»", r) {
		return false
	}
	line := s.text[start:min(len(s.text), start+maxCurly)]
	if i := strings.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	end := strings.IndexAny(line[size:], "“”‘’«»")
	if end < 0 {
		return false
	}
	_, n := utf8.DecodeRuneInString(line[size+end:])
	s.pos = start + size + end + n
	s.fail(diag.BadCharacter, start, "use straight quotes: \"…\"", "these quotes are not plain")
	s.emit(Error, start)
	return true
}

// mergeMark scans a line that a merge left behind. Only the first is reported: the others belong to it.
func (s *scanner) mergeMark(start int) bool {
	if start > 0 && s.text[start-1] != '\n' {
		return false
	}
	for _, mark := range []string{"<<<<<<<", "|||||||", "=======", ">>>>>>>"} {
		if !strings.HasPrefix(s.text[start:], mark) {
			continue
		}
		s.toLineEnd()
		if mark == "<<<<<<<" || !s.merging {
			s.fail(diag.BadCharacter, start, "keep one side, and remove the lines of `<<<<<<<`, `=======` and `>>>>>>>`", "this is what a merge left behind")
		}
		s.merging = mark != ">>>>>>>"
		s.emit(Comment, start)
		return true
	}
	return false
}

// statementStart tells whether only blanks stand between here and the last line end, brace or start of the file. Inside
// ( or [ no statement starts: `all(list, {# > 1})`.
func (s *scanner) statementStart() bool {
	if bytes.ContainsAny(s.open, "([") {
		return false
	}
	if len(s.all) == 0 {
		return s.from == 0
	}
	last := s.all[len(s.all)-1]
	return last.Kind == End || last.Kind == Comment || last.Is("{") || last.Is("}")
}
