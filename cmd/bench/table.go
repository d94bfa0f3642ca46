package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// line is one line of the table. A note stands instead of the figures where there are none.
type line struct {
	what       string
	ours, peer string
	ratio      string
	target     string
	ok         bool
	note       string
}

// table prints lines as they come, in fixed columns: some rows take a while.
type table struct {
	w      io.Writer
	missed int
}

const columns = "%-44s %12s %20s %8s  %-24s %s\n"

func newTable(w io.Writer) *table {
	fmt.Fprintf(w, columns, "what", "ours", "peer", "ratio", "target", "")
	return &table{w: w}
}

func (t *table) add(l line) {
	if l.note != "" {
		fmt.Fprintf(t.w, "%-44s %s\n", l.what, l.note)
		return
	}
	verdict := ""
	switch {
	case l.target == "":
	case l.ok:
		verdict = "ok"
	default:
		verdict = "miss"
		t.missed++
	}
	fmt.Fprintf(t.w, columns, l.what, l.ours, l.peer, l.ratio, l.target, verdict)
}

func (t *table) end() {
	if t.missed > 0 {
		fmt.Fprintf(t.w, "%d missed. A busy machine explains a miss that a second run does not show.\n", t.missed)
	}
}

// machine says on what the figures were measured.
func machine() string {
	kernel, load := "an unknown kernel", ""
	var u syscall.Utsname
	if syscall.Uname(&u) == nil {
		var text []byte
		for _, c := range u.Release {
			if c == 0 {
				break
			}
			text = append(text, byte(c))
		}
		kernel = "Linux " + string(text)
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		if first, _, ok := strings.Cut(string(data), " "); ok {
			load = ", load " + first
		}
	}
	return fmt.Sprintf("%d cores (%s), %s, %s%s; medians of alternated runs", runtime.NumCPU(), processor(), kernel, runtime.Version(), load)
}

func processor() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for l := range strings.Lines(string(data)) {
		if name, ok := strings.CutPrefix(l, "model name"); ok {
			return strings.Trim(name, " \t:\n")
		}
	}
	return runtime.GOARCH
}

// median of a list, which stays as it is.
func median[T time.Duration | float64](list []T) T { return quantile(list, 0.5) }

// quantile by nearest rank.
func quantile[T time.Duration | float64](list []T, q float64) T {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// alternate runs each candidate n times, in turns, so that a machine that slows down slows all of them.
func alternate[T any](b *bench, n int, candidates ...func() (T, error)) ([][]T, error) {
	out := make([][]T, len(candidates))
	for range n {
		for i, f := range candidates {
			if err := b.ctx.Err(); err != nil {
				return nil, err
			}
			x, err := f()
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], x)
		}
	}
	return out, nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f ms", float64(d)/1e6) }
func us(d time.Duration) string { return fmt.Sprintf("%.0f µs", float64(d)/1e3) }

func ratio(a, b float64) string { return fmt.Sprintf("%.2f", a/b) }
