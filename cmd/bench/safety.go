package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The latencies that the promise rests on: how long a fault lasts after the moment at which it has to go. The clock of
// each starts where a user's would: at the sample that trips a guard, at the kill, at Ctrl-C.

const endings = 200 // runs of chaos for each line

// moment is one way to end a run, and how long the fault outlived it.
type moment struct {
	what   string
	target time.Duration // of the 99th percentile
	script string
	once   func(b *bench, s *scene) (time.Duration, error)
}

var moments = []moment{
	{"guard's sample to fault verified gone", 20 * time.Millisecond, paused, guardToGone},
	{"SIGKILL to gone, class kernel", 50 * time.Millisecond, paused, killToRunning},
	{"SIGKILL to gone, class guardian", 100 * time.Millisecond, `param file: string
experiment "put" { inject { file.put(file, "broken") for 60s } }`, killToContent},
	{"Ctrl-C in a wait to exit", 150 * time.Millisecond, paused, interruptToExit},
}

const paused = `param file: string
param victim: number
experiment "pause" {
  probe flag = file.stat(file) every 10ms
  abort when flag.size > 4B
  inject { process.pause(pid: victim); wait 60s }
}`

const untouched = "good"

func safetyRow(b *bench) ([]line, error) {
	var lines []line
	for i, m := range moments {
		dir := filepath.Join(b.dir, fmt.Sprintf("moment%d", i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
		took := make([]time.Duration, 0, endings)
		for range endings {
			d, err := b.moment(dir, m)
			if err != nil {
				return lines, fmt.Errorf("%s: %w", m.what, err)
			}
			took = append(took, d)
		}
		p99 := quantile(took, 0.99)
		lines = append(lines, line{what: m.what, ours: ms(p99) + " p99", peer: ms(median(took)) + " p50", ratio: "",
			target: "p99 under " + m.target.String(), ok: p99 < m.target})
	}
	return lines, nil
}

// scene is one run of chaos with its fault in place.
type scene struct {
	runs   string // the folder of runs
	file   string
	victim *child
	chaos  *exec.Cmd
	events *bufio.Reader
}

// moment makes a scene, waits for a random instant, and ends it.
func (b *bench) moment(dir string, m moment) (took time.Duration, err error) {
	s := &scene{runs: filepath.Join(dir, "runs"), file: filepath.Join(dir, "file")}
	defer os.RemoveAll(s.runs)
	script := filepath.Join(dir, "moment.chaos")
	for file, text := range map[string]string{script: m.script, s.file: untouched} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return 0, err
		}
	}
	if s.victim, _, err = b.begin("sleep", "600"); err != nil {
		return 0, err
	}
	defer s.victim.stop()
	args := []string{"script", script, "--runs", s.runs, "--plain", "--events", "-", "--param", "file=" + s.file}
	if strings.Contains(m.script, "victim") {
		args = append(args, "--param", "victim="+strconv.Itoa(s.victim.cmd.Process.Pid))
	}
	exe, err := filepath.Abs(b.chaos)
	if err != nil {
		return 0, err
	}
	s.chaos = exec.Command(exe, args...)
	var said bytes.Buffer
	s.chaos.Stderr = &said
	out, err := s.chaos.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := s.chaos.Start(); err != nil {
		return 0, err
	}
	defer s.end(b)
	s.events = bufio.NewReader(out)
	if _, err := s.until(func(e seen) bool { return e.Kind == "step_ended" && e.Data.Effect == "yes" }); err != nil {
		return 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	b.pause(rand.N(30 * time.Millisecond))
	return m.once(b, s)
}

// end waits until the fault is undone in the journal too, which is the last that runner or guardian do.
func (s *scene) end(b *bench) {
	go io.Copy(io.Discard, s.events)
	s.chaos.Process.Signal(syscall.SIGTERM)
	s.chaos.Wait()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && b.ctx.Err() == nil; b.pause(time.Millisecond) {
		journals, _ := filepath.Glob(filepath.Join(s.runs, "*", "journal.jsonl"))
		for _, j := range journals {
			if data, _ := os.ReadFile(j); bytes.Contains(data, []byte(`"state":"reverted"`)) {
				b.pause(20 * time.Millisecond)
				return
			}
		}
	}
}

// seen is what this program reads of an event.
type seen struct {
	T    float64 // seconds since the start of the run
	Kind string
	Data struct {
		Probe  string
		Effect string
		OK     bool
		Value  map[string]any
	}
}

func (s *scene) until(ok func(seen) bool) (e seen, err error) {
	for {
		text, err := s.events.ReadBytes('\n')
		if err != nil {
			return e, fmt.Errorf("the run ended too early")
		}
		e = seen{}
		if json.Unmarshal(text, &e) == nil && ok(e) {
			return e, nil
		}
	}
}

// guardToGone takes both instants from the run's own journal, on one clock.
func guardToGone(_ *bench, s *scene) (time.Duration, error) {
	if err := os.WriteFile(s.file, []byte("tripped"), 0o600); err != nil {
		return 0, err
	}
	var last, tripped seen
	gone, err := s.until(func(e seen) bool {
		switch e.Kind {
		case "sample":
			if e.Data.Probe == "flag" {
				last = e
			}
		case "guard_tripped":
			tripped = last
		}
		return e.Kind == "fault_undone" && e.Data.OK
	})
	if err == nil && tripped.Kind == "" {
		err = fmt.Errorf("no guard tripped")
	}
	return time.Duration((gone.T - tripped.T) * 1e9), err
}

func killToRunning(b *bench, s *scene) (time.Duration, error) {
	stat := fmt.Sprintf("/proc/%d/stat", s.victim.cmd.Process.Pid)
	return s.killed(b, func() bool {
		data, err := os.ReadFile(stat)
		_, after, _ := strings.Cut(string(data), ") ")
		return err == nil && after != "" && after[0] != 't' && after[0] != 'T'
	})
}

func killToContent(b *bench, s *scene) (time.Duration, error) {
	return s.killed(b, func() bool {
		data, err := os.ReadFile(s.file)
		return err == nil && string(data) == untouched
	})
}

// killed kills the runner and looks until the fault is gone. The clock starts before the signal.
func (s *scene) killed(b *bench, gone func() bool) (time.Duration, error) {
	if gone() {
		return 0, fmt.Errorf("the fault is not there")
	}
	begun := time.Now()
	if err := s.chaos.Process.Kill(); err != nil {
		return 0, err
	}
	for !gone() {
		if time.Since(begun) > 10*time.Second {
			return 0, fmt.Errorf("the fault outlived the runner by ten seconds")
		}
		b.pause(50 * time.Microsecond)
	}
	return time.Since(begun), nil
}

func interruptToExit(_ *bench, s *scene) (time.Duration, error) {
	go io.Copy(io.Discard, s.events)
	begun := time.Now()
	if err := s.chaos.Process.Signal(os.Interrupt); err != nil {
		return 0, err
	}
	s.chaos.Wait()
	return time.Since(begun), nil
}
