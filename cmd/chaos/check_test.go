package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chaos/lang/diag"
	"chaos/runtime/needtest"

	"golang.org/x/sys/unix"
)

// checkText runs `chaos check --format json` on a file and gives its diagnostics.
func checkText(t *testing.T, path string) (diag.List, int) {
	t.Helper()
	var out bytes.Buffer
	code, err := runCheck(&out, io.Discard, []string{path}, checkFlags{format: "json"})
	if err != nil {
		t.Fatal(err)
	}
	return fromJSON(t, out.Bytes()), code
}

func fromJSON(t *testing.T, data []byte) diag.List {
	t.Helper()
	var doc struct{ Diagnostics diag.List }
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	return doc.Diagnostics
}

// TestStrangeFiles gives each strange input one message, at once, whatever it is.
func TestStrangeFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	huge := filepath.Join(dir, "huge.chaos")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(100 << 20); err != nil { // a hole: it takes no space
		t.Fatal(err)
	}
	f.Close()
	nest := func(open, close string) string {
		return "experiment \"x\" {\n  let a = " + strings.Repeat(open, 10_000) + "1" + strings.Repeat(close, 10_000) + "\n}\n"
	}
	for _, c := range []struct {
		name, path string
		code       diag.Code
		message    string
		line, col  int
	}{
		{"empty", write("empty.chaos", ""), diag.EmptyFile, "the file is empty", 1, 1},
		{"blank", write("blank.chaos", " \n\t\n"), diag.EmptyFile, "the file is empty", 1, 1},
		{"comments", write("comments.chaos", "#!/usr/bin/env chaos\n// nothing\n// yet\n"), diag.EmptyFile, "only comments", 1, 1},
		{"binary", write("binary.chaos", "\x7fELF\x02\x01\x01\x00\x00"), diag.NotUTF8, "binary data", 1, 8},
		{"latin-1", write("latin.chaos", "// caf\xe9\n"), diag.NotUTF8, "0xe9", 1, 7},
		{"utf-16", write("wide.chaos", "\xff\xfea\x00b\x00"), diag.NotUTF8, "UTF-16", 1, 1},
		{"directory", dir, diag.BadFile, "is a directory", 1, 1},
		{"missing", filepath.Join(dir, "nowhere.chaos"), diag.BadFile, "there is no file", 1, 1},
		{"100 MB", huge, diag.BadFile, "too large", 1, 1},
		{"endless", "/dev/zero", diag.BadFile, "too large", 1, 1},
		{"nested (", write("round.chaos", nest("(", ")")), diag.TooDeep, "nested", 2, 0},
		{"nested [", write("square.chaos", nest("[", "]")), diag.TooDeep, "nested", 2, 0},
		{"nested {", write("curly.chaos", strings.Repeat("do {\n", 10_000)), diag.TooDeep, "nested", 0, 0},
		{"nested ${", write("holes.chaos", "let a = "+strings.Repeat(`"${`, 10_000)+"\n"), diag.BadString, "", 1, 0},
		{"never closed", write("open.chaos", "let a = "+strings.Repeat("(", 200)), diag.Unclosed, "never closed", 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			list, code := checkText(t, c.path)
			if len(list) != 1 && !(c.name == "never closed" && len(list) > 0) || code != exitUsage {
				t.Fatalf("exit %d, %d messages: %.500v", code, len(list), list)
			}
			d := list[0]
			if d.Code != c.code || !strings.Contains(d.Message, c.message) {
				t.Errorf("got %v", d)
			}
			if at := d.Span.Start; c.line > 0 && at.Line != c.line || c.col > 0 && at.Col != c.col {
				t.Errorf("at %d:%d, want %d:%d", at.Line, at.Col, c.line, c.col)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestUnreadableFile needs to be somebody who may not read it: as root, the command runs as nobody.
func TestUnreadableFile(t *testing.T) {
	dir, err := os.MkdirTemp("", "chaos-unreadable")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "secret.chaos")
	if err := os.WriteFile(path, []byte("let a = 5\n"), 0o000); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "check", "--format", "json", path)
	if os.Geteuid() == 0 {
		binary, err := os.ReadFile(exe)
		if err != nil {
			t.Fatal(err)
		}
		mine := filepath.Join(dir, "chaos")
		if err := os.WriteFile(mine, binary, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.Path = mine
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), asChaos+"=1")
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		needtest.Lacks(t, fmt.Sprintf("another user cannot be used here: %v", err))
	}
	list := fromJSON(t, out)
	if len(list) != 1 || list[0].Code != diag.BadFile || !strings.Contains(list[0].Message, "may not be read") || cmd.ProcessState.ExitCode() != exitUsage {
		t.Errorf("exit %d: %v", cmd.ProcessState.ExitCode(), list)
	}
}

// longScript is a valid script of about n lines, in experiments of a usual size.
func longScript(n int) string {
	var b strings.Builder
	for i := 0; i*40 < n; i++ { // each has forty lines
		fmt.Fprintf(&b, "experiment \"number %d\" {\n  probe home = http.get(\"http://127.0.0.1:8003/\", timeout: 2s) every 200ms\n", i)
		b.WriteString("  abort when home.latency > 2s for 3s\n  setup {\n    process.start(\"./worker\", restart: true) as worker\n  }\n  steady {\n    window: 5s\n")
		for j := range 20 {
			fmt.Fprintf(&b, "    expect home.status == 200 and home.latency < %dms\n", 100+j)
		}
		b.WriteString("  }\n  inject {\n")
		for range 9 {
			b.WriteString("    process.kill(worker)\n")
		}
		b.WriteString("  }\n}\n")
	}
	return b.String()
}

// BenchmarkCheck checks ten thousand lines, and twice as many: the second should take about twice as long.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{10_000, 20_000} {
		path := filepath.Join(b.TempDir(), "long.chaos")
		text := longScript(n)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("lines=%d", strings.Count(text, "\n")), func(b *testing.B) {
			for b.Loop() {
				if code, _ := runCheck(io.Discard, io.Discard, []string{path}, checkFlags{format: "json"}); code != 0 {
					b.Fatal(code)
				}
			}
		})
	}
}

// processTime is what this process takes of the processors, however busy the machine is.
func processTime(t *testing.T) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestCheckIsLinear compares the best of a few runs of a script and of one four times as long. Quadratic would be sixteen.
func TestCheckIsLinear(t *testing.T) {
	dir := t.TempDir()
	best := func(n int) time.Duration {
		path := filepath.Join(dir, fmt.Sprint(n, ".chaos"))
		if err := os.WriteFile(path, []byte(longScript(n)), 0o644); err != nil {
			t.Fatal(err)
		}
		least := time.Hour
		for range 3 {
			start := processTime(t)
			if list, code := checkText(t, path); code != 0 {
				t.Fatalf("%.500v", list)
			}
			least = min(least, processTime(t)-start)
		}
		return least
	}
	one, four := best(2000), best(8000)
	if four > 10*one {
		t.Errorf("four times the lines take %v instead of %v", four, one)
	}
}
