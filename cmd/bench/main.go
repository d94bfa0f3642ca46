// Command bench measures chaos beside its peers, side by side in one run, and prints one table. It is for people, on a quiet
// machine: a figure that misses its target is printed and ends nothing, so that no test depends on the clock.
//
//	make bench                 all rows, some four minutes
//	make bench BENCH=http      the rows whose name contains http
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// row is one measurement. It returns one line of the table, or several.
type row struct {
	name    string
	measure func(*bench) ([]line, error)
}

var rows = []row{
	{"start", startRow},
	{"prompt", promptRow},
	{"parse", parseRow},
	{"check", checkRow},
	{"process steps", stepsRow},
	{"http samples", samplesRow},
	{"scheduling jitter", jitterRow},
	{"http.load throughput", throughputRow},
	{"http.load percentiles", percentilesRow},
	{"host probes", hostRow},
	{"cost of BPF", watchRow},
	{"memory of an hour", memoryRow},
	{"safety", safetyRow},
}

// children are the parts of this program that run in processes of their own; see child.go.
var children = map[string]func(args []string) error{
	"serve-file":   serveFile,
	"serve-delays": serveDelays,
	"hour":         hour,
	"own-load":     ownLoad,
	"steps":        measureSteps,
}

func main() {
	if len(os.Args) > 1 && children[os.Args[1]] != nil {
		if err := children[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "measure the rows whose name contains this")
	chaos := flag.String("chaos", "bin/chaos", "the chaos binary to start")
	flag.Parse()
	if err := run(*only, *chaos); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is what the rows share.
type bench struct {
	ctx   context.Context // ends with Ctrl-C
	dir   string          // for files, removed at the end
	chaos string          // the binary
	log   io.Writer
}

func run(only, chaos string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	dir, err := os.MkdirTemp("", "chaos-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{ctx: ctx, dir: dir, chaos: chaos, log: os.Stderr}
	fmt.Println(machine())
	t := newTable(os.Stdout)
	for _, r := range rows {
		if only != "" && only != "." && !strings.Contains(r.name, only) {
			continue
		}
		lines, err := r.measure(b)
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted")
		}
		if err != nil {
			lines = append(lines, line{what: r.name, note: "not measured: " + err.Error()})
		}
		for _, l := range lines {
			t.add(l)
		}
	}
	t.end()
	return nil
}
