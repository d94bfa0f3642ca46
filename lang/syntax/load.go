package syntax

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"chaos/lang/diag"
	"chaos/lang/value"
)

// MaxSize is the most that a script may weigh. What is larger was chosen by mistake.
const MaxSize = 10 << 20

// Load reads a script. The Source is nil after an error.
func Load(path string) (*diag.Source, []diag.Diagnostic) {
	fail := func(code diag.Code, hint, message string) (*diag.Source, []diag.Diagnostic) {
		start := diag.Pos{Line: 1, Col: 1}
		d := diag.Errorf(code, diag.Span{File: path, Start: start, End: start}, "%s", message)
		d.Hint = hint
		return nil, []diag.Diagnostic{d}
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(diag.BadFile, "", "there is no file `"+path+"`")
	case errors.Is(err, fs.ErrPermission):
		return fail(diag.BadFile, "", "`"+path+"` may not be read")
	case err != nil:
		return fail(diag.BadFile, "", "`"+path+"` cannot be read: "+reason(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil {
		if info.IsDir() {
			return fail(diag.BadFile, "name a file in it", "`"+path+"` is a directory")
		}
		if info.Mode().IsRegular() && info.Size() > MaxSize {
			return fail(diag.BadFile, "a script may have up to 10MiB", "`"+path+"` is too large for a script: it has "+value.SizeOf(float64(info.Size())).Short())
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return fail(diag.BadFile, "", "`"+path+"` cannot be read: "+reason(err))
	}
	if len(data) > MaxSize {
		return fail(diag.BadFile, "a script may have up to 10MiB", "`"+path+"` is too large for a script")
	}
	if d, bad := Encoding(path, data); bad {
		return nil, []diag.Diagnostic{d}
	}
	return diag.NewSource(path, string(data)), nil
}

func reason(err error) string {
	var perr *fs.PathError
	if errors.As(err, &perr) {
		return perr.Err.Error()
	}
	return err.Error()
}

// Encoding tells what is wrong with the bytes of a script: binary data, or text that is not UTF-8.
func Encoding(name string, data []byte) (diag.Diagnostic, bool) {
	valid := 0
	for valid < len(data) {
		r, n := utf8.DecodeRune(data[valid:])
		if r == utf8.RuneError && n == 1 || r == 0 {
			break
		}
		valid += n
	}
	if valid == len(data) {
		return loneCR(name, data)
	}
	pos := diag.Pos{Offset: valid, Line: 1 + bytes.Count(data[:valid], []byte("\n"))}
	pos.Col = utf8.RuneCount(data[bytes.LastIndexByte(data[:valid], '\n')+1:valid]) + 1
	at := diag.Span{File: name, Start: pos, End: pos}
	switch {
	case bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")):
		return diag.Errorf(diag.NotUTF8, at, "the file is UTF-16, not UTF-8").WithHint("save it as UTF-8"), true
	case bytes.IndexByte(data, 0) >= 0:
		return diag.Errorf(diag.NotUTF8, at, "this is binary data, not a script"), true
	}
	return diag.Errorf(diag.NotUTF8, at, "the file is not UTF-8: byte 0x%02x cannot stand here", data[valid]).WithHint("save it as UTF-8"), true
}

// loneCR knows the line ends of old Macs: with them the whole file would be one line, and no message could say where.
func loneCR(name string, data []byte) (diag.Diagnostic, bool) {
	cr := bytes.IndexByte(data, '\r')
	if cr < 0 || cr == len(data)-1 || bytes.IndexByte(data, '\n') >= 0 {
		return diag.Diagnostic{}, false
	}
	pos := diag.Pos{Offset: cr, Line: 1, Col: utf8.RuneCount(data[:cr]) + 1}
	return diag.Errorf(diag.BadCharacter, diag.Span{File: name, Start: pos, End: pos}, "the lines of this file end in CR alone").WithHint("save it with LF or CRLF at the line ends"), true
}

func emptyFile(src *diag.Source) diag.Diagnostic {
	message := "the file is empty"
	if strings.TrimSpace(src.Text) != "" {
		message = "the file holds only comments"
	}
	return diag.Errorf(diag.EmptyFile, src.Span(0, 0), "%s", message).WithHint("start with `experiment \"what must hold\" { … }`")
}
