// Package logfile watches what programs write into their log files.
package logfile

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/filefail"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{lines()} }

type linesArgs struct {
	Path  string `chaos:"path,required,positional,filled" help:"the log file, which may not exist yet; a relative path starts at the script's folder"`
	Match string `chaos:"match,required,regexp" help:"a regular expression (RE2) that counts a line when it is found anywhere in it; best in single quotes, as in 'ERROR|FATAL'; (?i) in front ignores case"`
}

// Sample is what was written since the probe began.
type Sample struct {
	Count int     `chaos:"count,kept" help:"how many lines matched since the probe began; lines from before never count, and it never falls"`
	Last  *string `chaos:"last,kept" help:"the latest line that matched, cut after 4KiB; absent before the first"`
}

// linesProbe is a probe with a state of its own: where it is in the file.
type linesProbe struct{ probes.Probe }

func lines() probes.Probe {
	return linesProbe{probes.Define(spec.Call{
		Name:    "log.lines",
		Summary: "Counts the lines that are written into a log file from now on and match; it follows rotation and truncation.",
		Example: `probe errors = log.lines("/var/log/nginx/error.log", match: '\[(error|crit)\]') every 1s`,
	}, func(context.Context, env.Env, linesArgs) (probes.Take[Sample], error) {
		return nil, errors.New("log.lines opens its file itself")
	})}
}

func (p linesProbe) Open(_ context.Context, e env.Env, given map[string]value.Value) (probes.Opened, error) {
	var in linesArgs
	if err := spec.Decode(given, &in); err != nil {
		return nil, err
	}
	if strings.Contains(in.Path, "\x00") {
		return nil, errors.New("`path` holds a zero byte")
	}
	s := &sampler{t: p.Spec().Result, match: regexp.MustCompile(in.Match)} // Decode refuses what is none
	s.follow = follower{path: command.Resolve(e.Dir, in.Path), line: s.take, now: time.Now}
	// What is in the file now is the past. One that cannot be read may become readable: the samples say so meanwhile.
	_ = s.follow.begin()
	return s, nil
}

// maxLast is how much of the latest line a sample keeps, in bytes.
const maxLast = 4 << 10

type sampler struct {
	t     *value.Type
	match *regexp.Regexp

	mu     sync.Mutex
	follow follower
	count  int
	last   *string
}

func (s *sampler) Timeout() time.Duration { return 0 }

func (s *sampler) Sample(ctx context.Context) (value.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.follow.read(ctx); err != nil {
		if ctx.Err() != nil {
			return value.Value{}, ctx.Err() // more than can be read in time: the next sample goes on where this one stopped
		}
		return value.Value{}, fmt.Errorf("%s cannot be read: %s", s.follow.path, filefail.Why(err))
	}
	return value.EncodeAs(s.t, Sample{Count: s.count, Last: s.last}), nil
}

// take judges one line, without its end.
func (s *sampler) take(line []byte) {
	if !s.match.Match(line) {
		return
	}
	s.count++
	text := strings.ToValidUTF8(string(line[:min(len(line), maxLast)]), "\uFFFD")
	s.last = &text
}

func (s *sampler) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.follow.close()
	return nil
}
