package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaos/lang/spec"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/event"
)

const (
	hourProbes = 100
	early      = 10 * time.Minute
	late       = 60 * time.Minute
)

// numbered is a probe whose samples differ, so that summaries have something to keep.
func numbered() probes.Probe {
	type sample struct {
		OK      bool          `chaos:"ok" help:"always"`
		Latency time.Duration `chaos:"latency" help:"between 1ms and 1s"`
	}
	return probes.Define(spec.Call{Name: "bench.numbered", Summary: "has a latency that varies", Example: "probe p = bench.numbered()"},
		func(context.Context, env.Env, struct{}) (probes.Take[sample], error) {
			n := 0
			return func(context.Context) (sample, error) {
				n++
				return sample{OK: true, Latency: time.Duration(n*7919%1000+1) * time.Millisecond}, nil
			}, nil
		})
}

// heaps are bytes in use after a collection.
type heaps struct {
	Early, Late uint64
	Samples     int
}

// memoryRow runs an hour of 100 probes at 10 Hz in virtual time. What is on the heap must not grow with the time.
func memoryRow(b *bench) ([]line, error) {
	fmt.Fprintln(b.log, "an hour in virtual time: a minute or two, and a journal of about a gigabyte that is removed again")
	c, text, err := b.self("hour", b.dir)
	if err != nil {
		return nil, err
	}
	defer c.stop()
	var h heaps
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return nil, fmt.Errorf("%s", text)
	}
	mib := func(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
	return []line{{what: fmt.Sprintf("heap after 60 min, %d samples", h.Samples), ours: mib(h.Late), peer: mib(h.Early) + " at 10 min", ratio: ratio(float64(h.Late), float64(h.Early)),
		target: "at most 1.25 times", ok: float64(h.Late) <= 1.25*float64(h.Early)}}, nil
}

// hour is the child. Virtual time needs a test, so it is one.
func hour(args []string) error {
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "hour", F: func(t *testing.T) {
		var h heaps
		var err error
		synctest.Test(t, func(*testing.T) { h, err = virtualHour(args[0]) })
		data, jerr := json.Marshal(h)
		if err = errors.Join(err, jerr); err != nil {
			fmt.Println(err)
			t.FailNow()
		}
		fmt.Println(string(data))
	}}}, nil, nil)
	return nil
}

func virtualHour(dir string) (h heaps, err error) {
	var script strings.Builder
	script.WriteString("experiment \"an hour\" {\n  deadline: 2h\n")
	for n := range hourProbes {
		fmt.Fprintf(&script, "  probe p%d = bench.numbered() every 100ms\n", n)
	}
	script.WriteString("  steady {\n    window: 61m\n")
	for n := range hourProbes {
		fmt.Fprintf(&script, "    expect p%d.ok\n", n)
	}
	script.WriteString("  }\n}\n")
	for after, into := range map[time.Duration]*uint64{early: &h.Early, late: &h.Late} {
		time.AfterFunc(after, func() {
			goruntime.GC()
			var m goruntime.MemStats
			goruntime.ReadMemStats(&m)
			*into = m.HeapAlloc
		})
	}
	err = execute(context.Background(), dir, script.String(), nil, func(e event.Event) {
		if _, ok := e.Data.(event.Sample); ok {
			h.Samples++
		}
	})
	return h, err
}
