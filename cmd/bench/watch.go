package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/probes/bpf"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

const watchRuns = 21

// took is what one run of dd took.
type took struct{ processor, elapsed time.Duration }

// watchRow compares a program that does nothing but system calls, a million of them, alone, while the probes in the kernel
// watch the whole machine, and while strace, attached as an incident would have it, watches this one process. What the
// kernel does at a system call is processor time of the caller, and that tells 5% from nothing on a busy machine too;
// strace makes it wait, so there it is the time that passed.
func watchRow(b *bench) ([]line, error) {
	const what = "dd bs=1 count=500k watched by BPF"
	runs, err := alternate(b, watchRuns, func() (took, error) { return b.dd(nil) }, b.ddWatched)
	if err != nil {
		return nil, err
	}
	processor := func(t took) time.Duration { return t.processor }
	alone, watched := medianOf(runs[0], processor), medianOf(runs[1], processor)
	lines := []line{{what: what + ", cpu", ours: ms(watched), peer: ms(alone) + " alone", ratio: ratio(float64(watched), float64(alone)),
		target: "less than 1.10 times", ok: float64(watched) < 1.1*float64(alone)}}
	what2 := what + ", time"
	strace, err := exec.LookPath("strace")
	if err != nil {
		return append(lines, line{what: what2, note: "strace is not installed (apt-get install strace)"}), nil
	}
	traced, err := b.dd(func(pid int) (*child, error) { return b.attach(strace, pid) })
	if err != nil {
		return lines, err
	}
	watched = medianOf(runs[1], func(t took) time.Duration { return t.elapsed })
	return append(lines, line{what: what2, ours: ms(watched), peer: ms(traced.elapsed) + " strace -p", ratio: ratio(float64(watched), float64(traced.elapsed)),
		target: "at most 0.50 times", ok: float64(watched) <= 0.5*float64(traced.elapsed)}), nil
}

func medianOf(runs []took, of func(took) time.Duration) time.Duration {
	list := make([]time.Duration, len(runs))
	for i, r := range runs {
		list[i] = of(r)
	}
	return median(list)
}

// attach starts strace on a process, and waits until it is there.
func (b *bench) attach(strace string, pid int) (*child, error) {
	c, _, err := b.begin(strace, "-f", "-qq", "-e", "trace=openat", "-o", "/dev/null", "-p", strconv.Itoa(pid))
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && b.ctx.Err() == nil; b.pause(time.Millisecond) {
		if tracer, err := target.Tracer(pid); err == nil && tracer != 0 {
			return c, nil
		}
	}
	c.stop()
	return nil, errors.New("strace did not attach")
}

// dd measures one run. It waits for its start, so that a tracer has the time to attach.
func (b *bench) dd(attach func(pid int) (*child, error)) (took, error) {
	cmd := exec.CommandContext(b.ctx, "sh", "-c", "read go && exec dd if=/dev/zero of=/dev/null bs=1 count=500k")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	start, err := cmd.StdinPipe()
	if err != nil {
		return took{}, err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return took{}, err
	}
	if attach != nil {
		tracer, err := attach(cmd.Process.Pid)
		if err != nil {
			start.Close()
			return took{}, errors.Join(err, cmd.Wait())
		}
		defer tracer.stop()
	}
	_, err = io.WriteString(start, "go\n")
	if err = errors.Join(err, start.Close(), cmd.Wait()); err != nil {
		return took{}, err
	}
	// Its own clock leaves out the start: "512000 bytes (512 kB, 500 KiB) copied, 0.125 s, 4.1 MB/s".
	_, rest, _ := strings.Cut(said.String(), " copied, ")
	text, _, _ := strings.Cut(rest, " s")
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return took{}, fmt.Errorf("dd did not say how long it took: %q", said.String())
	}
	return took{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Duration(seconds * 1e9)}, nil
}

// ddWatched measures one run with all three probes on, each read at its end.
func (b *bench) ddWatched() (took, error) {
	var on []probes.Streamer
	for _, p := range bpf.All() {
		o, err := p.Open(b.ctx, env.Env{}, map[string]value.Value{})
		if err != nil {
			return took{}, err
		}
		defer o.Close()
		s := o.(probes.Streamer)
		if err := s.Start(b.ctx); err != nil {
			return took{}, err
		}
		on = append(on, s)
	}
	run, err := b.dd(nil)
	for _, s := range on {
		if v, _ := s.Next(); v.IsMissing() && err == nil {
			err = errors.New(v.Why())
		}
	}
	return run, err
}
