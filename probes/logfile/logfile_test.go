package logfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"

	"golang.org/x/sys/unix"
)

// log is a file under test and the probe on it.
type log struct {
	t    *testing.T
	path string
	s    *sampler
}

func open(dir, path, match string) (probes.Opened, error) {
	p, _ := probes.NewRegistry(All()...).Probe("log.lines")
	return p.Open(context.Background(), env.Env{Dir: dir}, map[string]value.Value{"path": value.StringOf(path), "match": value.StringOf(match)})
}

func follow(t *testing.T, before string) *log {
	t.Helper()
	dir := t.TempDir()
	l := &log{t: t, path: filepath.Join(dir, "app.log")}
	if before != "" {
		l.append(before)
	}
	o, err := open(dir, "app.log", "ERROR")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	l.s = o.(*sampler)
	return l
}

func (l *log) append(text string) { l.appendTo(l.path, text) }

func (l *log) appendTo(path, text string) {
	l.t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) move(from, to string) {
	l.t.Helper()
	if err := os.Rename(from, to); err != nil {
		l.t.Fatal(err)
	}
}

func (l *log) want(count int, last string) {
	l.t.Helper()
	v, err := l.s.Sample(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	if v.Get("count").Float() != float64(count) || v.Get("last").Text() != last || v.Get("last").IsMissing() != (count == 0) {
		l.t.Errorf("the sample is %s, want %d and %q", v.Short(), count, last)
	}
}

func TestOnlyWhatIsNewCounts(t *testing.T) {
	l := follow(t, "ERROR old\nERROR old too\n")
	l.want(0, "")
	l.append("ERROR one\nINFO two\r\nan ERROR three\r\n")
	l.want(2, "an ERROR three")
	l.want(2, "an ERROR three")
	l.append("ERR")
	l.want(2, "an ERROR three")
	l.append("OR in two pieces\n\n\nERROR")
	l.want(3, "ERROR in two pieces")
	l.append("\n")
	l.want(4, "ERROR")
	l.append("ERROR \xff\n")
	l.want(5, "ERROR \uFFFD")
}

func TestAFileThatComesLater(t *testing.T) {
	l := follow(t, "")
	l.want(0, "")
	l.append("ERROR first\n")
	l.want(1, "ERROR first")
	os.Remove(l.path)
	l.want(1, "ERROR first")
	l.append("ERROR again\n")
	l.want(2, "ERROR again")
}

func TestRotationByRename(t *testing.T) {
	l := follow(t, "ERROR old\n")
	l.append("ERROR 1\n")
	l.move(l.path, l.path+".1")
	l.appendTo(l.path+".1", "ERROR 2\n") // the writer has it open still
	l.want(2, "ERROR 2")
	l.append("ERROR 4\n")
	l.appendTo(l.path+".1", "ERROR 3\n")
	l.want(4, "ERROR 4")
	l.appendTo(l.path+".1", "ERROR 5\n")
	l.want(5, "ERROR 5")
	// Once more before the first is let go of.
	l.move(l.path+".1", l.path+".2")
	l.move(l.path, l.path+".1")
	l.append("ERROR 6\n")
	l.want(6, "ERROR 6")
	l.want(6, "ERROR 6")
	if n := len(l.s.follow.files); n != 3 {
		t.Errorf("%d files are open", n)
	}
	l.appendTo(l.path+".1", "ERROR 7, and no end")
	l.want(6, "ERROR 6")
	l.s.follow.now = func() time.Time { return time.Now().Add(linger + time.Second) }
	l.want(7, "ERROR 7, and no end")
	if n := len(l.s.follow.files); n != 1 {
		t.Errorf("%d files are open", n)
	}
	l.append("ERROR 8\n")
	l.want(8, "ERROR 8")
}

func TestAFileThatComesBackIsNotCountedTwice(t *testing.T) {
	l := follow(t, "")
	l.append("ERROR 1\n")
	l.want(1, "ERROR 1")
	l.move(l.path, l.path+".1")
	l.append("ERROR 2\n")
	l.want(2, "ERROR 2")
	l.move(l.path+".1", l.path)
	l.want(2, "ERROR 2")
	l.s.follow.now = func() time.Time { return time.Now().Add(time.Hour) }
	l.want(2, "ERROR 2")
	l.append("ERROR 3\n")
	l.want(3, "ERROR 3")
}

func TestTruncation(t *testing.T) {
	l := follow(t, "ERROR old\n")
	l.append("ERROR 1\nERROR 2\n")
	l.want(2, "ERROR 2")
	if err := os.Truncate(l.path, 0); err != nil {
		t.Fatal(err)
	}
	l.want(2, "ERROR 2")
	l.append("ERROR 3\n")
	l.want(3, "ERROR 3")
	// Truncated, and longer than before by the next look.
	if err := os.Truncate(l.path, 0); err != nil {
		t.Fatal(err)
	}
	l.append(strings.Repeat("ERROR again\n", 50))
	l.want(53, "ERROR again")
	l.append("ERROR last")
	l.want(53, "ERROR again")
	if err := os.Truncate(l.path, 0); err != nil {
		t.Fatal(err)
	}
	l.want(54, "ERROR last")
}

func TestLongLines(t *testing.T) {
	l := follow(t, "")
	l.append("ERROR " + strings.Repeat("x", 300<<10) + "\n" + strings.Repeat("y", 300<<10) + " ERROR\n")
	v, err := l.s.Sample(context.Background())
	if err != nil || v.Get("count").Float() != 1 || len(v.Get("last").Text()) != maxLast {
		t.Errorf("%v lines, the last of %d bytes (%v)", v.Get("count"), len(v.Get("last").Text()), err)
	}
	if n := cap(l.s.follow.files[0].part); n > 2*maxLine {
		t.Errorf("%d bytes are kept", n)
	}
	l.append("ERROR short\n")
	l.want(2, "ERROR short")
}

// TestAWriterThatRotates writes and rotates while samples are taken: no line is lost, none counts twice.
func TestAWriterThatRotates(t *testing.T) {
	l := follow(t, "")
	const rounds, each = 20, 200
	var wg sync.WaitGroup
	var samples atomic.Int64
	wg.Go(func() {
		for i := range rounds {
			f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			for j := range each {
				if j == each/2 { // renamed while it is written to
					// A rotation that is faster than the samples loses the file in between: one sample begins and ends before.
					for n := samples.Load(); samples.Load() < n+2 && !t.Failed(); time.Sleep(time.Millisecond) {
					}
					if err := os.Rename(l.path, fmt.Sprintf("%s.%d", l.path, i)); err != nil {
						t.Error(err)
					}
				}
				fmt.Fprintf(f, "ERROR %d\nINFO\n", i*each+j)
			}
			f.Close()
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-time.After(time.Millisecond):
		}
		if _, err := l.s.Sample(context.Background()); err != nil {
			t.Fatal(err)
		}
		samples.Add(1)
	}
	l.want(rounds*each, fmt.Sprintf("ERROR %d", rounds*each-1))
}

func TestAnUnreadableFile(t *testing.T) {
	dir := t.TempDir()
	unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600)
	for path, want := range map[string]string{".": dir + " cannot be read: it is no plain file", "pipe": dir + "/pipe cannot be read: it is no plain file"} {
		o, err := open(dir, path, "x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.(*sampler).Sample(context.Background()); err == nil || err.Error() != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	// It turns into a file: what it holds then came unseen.
	o, err := open(dir, "pipe", "ERROR")
	if err != nil {
		t.Fatal(err)
	}
	l := &log{t: t, path: filepath.Join(dir, "pipe"), s: o.(*sampler)}
	os.Remove(l.path)
	l.append("ERROR unseen\n")
	l.want(0, "")
	l.append("ERROR seen\n")
	l.want(1, "ERROR seen")
	o.Close()
}

func TestCancelled(t *testing.T) {
	l := follow(t, "")
	l.append(strings.Repeat("ERROR\n", 100_000))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.s.Sample(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	l.want(100_000, "ERROR")
}

func TestTheSpec(t *testing.T) {
	for match, want := range map[string]string{"(": "`match` must be a regular expression: missing closing ): `(`", `a{2,1}`: "`match` must "} {
		if _, err := open(t.TempDir(), "x", match); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", match, err)
		}
	}
	if _, err := open(t.TempDir(), "", "x"); err == nil {
		t.Error("an empty path opens")
	}
	s := All()[0].Spec()
	if s.Summary == "" || !strings.Contains(s.Example, s.Name) {
		t.Errorf("the spec is %+v", s)
	}
	for _, p := range s.Params {
		if p.Help == "" {
			t.Errorf("%s lacks help", p.Name)
		}
	}
	for _, f := range s.Result.Fields {
		if f.Help == "" {
			t.Errorf("%s lacks help", f.Name)
		}
	}
}
