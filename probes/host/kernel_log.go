package host

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
	"chaos/runtime/env"
)

type kernelLogArgs struct {
	Match string `chaos:"match,required" help:"a regular expression (RE2) that counts a message when it is found anywhere in it; best in single quotes, as in 'I/O error|EXT4-fs error'"`
}

// KernelLog is what the kernel said since the probe began.
type KernelLog struct {
	Count int         `chaos:"count" help:"messages that matched since the probe began; messages from before never count, and it never falls; /dev/kmsg"`
	Rate  value.RateV `chaos:"rate" help:"messages that matched, since the sample before"`
	Last  *string     `chaos:"last" help:"the latest message that matched; absent before the first"`
	Lost  int         `chaos:"lost" help:"messages of any kind that were overwritten before they could be read, so that count may be too low"`
}

func kernelLog(r Root) probes.Probe {
	return withLog(spec.Call{
		Name:    "host.kernel_log",
		Summary: "Counts the messages that the kernel logs from now on and match, such as errors of a disk.",
		Example: `probe disk_errors = host.kernel_log(match: 'I/O error|EXT4-fs error') every 1s`,
		Needs:   []spec.Need{{Kind: "kernel", Name: "/dev/kmsg", Install: "run as root"}},
	}, func(_ env.Env, in kernelLogArgs) (probes.Take[KernelLog], *kmsg, error) {
		match, err := regexp.Compile(in.Match)
		if err != nil {
			return nil, nil, fmt.Errorf("`match`: %s is no regular expression: %s", value.Quote(in.Match), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		log, err := r.openKmsg()
		if err != nil {
			return nil, nil, err
		}
		return matching(log, match), log, nil
	})
}

func matching(log *kmsg, match *regexp.Regexp) probes.Take[KernelLog] {
	var out KernelLog
	told, at := 0, time.Now() // the count of the latest sample, and when it was
	return func(ctx context.Context) (KernelLog, error) {
		err := log.drain(ctx, func(text string) {
			if match.MatchString(text) {
				out.Count++
				out.Last = &text
			}
		})
		if err != nil {
			return KernelLog{}, err
		}
		now := time.Now()
		out.Rate = value.RateV(float64(out.Count-told) / max(now.Sub(at), time.Millisecond).Seconds())
		out.Lost, told, at = log.lost, out.Count, now
		return out, nil
	}
}

// withLog makes a probe that may hold the kernel's log open. A nil log is none.
func withLog[A, S any](call spec.Call, open func(env.Env, A) (probes.Take[S], *kmsg, error)) probes.Probe {
	p := probes.Define(call, func(context.Context, env.Env, A) (probes.Take[S], error) {
		return nil, errors.New(call.Name + " opens its log itself")
	})
	return &logProbe[A, S]{p, open}
}

type logProbe[A, S any] struct {
	probes.Probe
	open func(env.Env, A) (probes.Take[S], *kmsg, error)
}

func (p *logProbe[A, S]) Open(_ context.Context, e env.Env, args map[string]value.Value) (probes.Opened, error) {
	var in A
	if err := spec.Decode(args, &in); err != nil {
		return nil, err
	}
	take, log, err := p.open(e, in)
	if err != nil {
		return nil, err
	}
	return &logSampler[S]{t: p.Spec().Result, take: take, log: log}, nil
}

type logSampler[S any] struct {
	t    *value.Type
	take probes.Take[S]

	mu     sync.Mutex // a run that ends closes the log while a sample may still read it; the number of a closed file is soon another's
	log    *kmsg      // nil for none
	closed bool
}

func (s *logSampler[S]) Timeout() time.Duration { return 0 }

func (s *logSampler[S]) Sample(ctx context.Context) (value.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return value.Value{}, errors.New("the probe is closed")
	}
	out, err := s.take(ctx)
	if err != nil {
		return value.Value{}, err
	}
	return value.EncodeAs(s.t, out), nil
}

func (s *logSampler[S]) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log == nil || s.closed {
		return nil
	}
	s.closed = true
	return s.log.close()
}
