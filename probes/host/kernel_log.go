package host

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/kmsg"
)

type kernelLogArgs struct {
	Match string `chaos:"match,required" help:"a regular expression (RE2) that counts a message when it is found anywhere in it; best in single quotes, as in 'I/O error|EXT4-fs error'"`
}

// KernelLog is what the kernel said since the probe began.
type KernelLog struct {
	Count int         `chaos:"count,kept" help:"messages that matched since the probe began; messages from before never count, and it never falls; /dev/kmsg"`
	Rate  value.RateV `chaos:"rate" help:"messages that matched, since the sample before"`
	Last  *string     `chaos:"last,kept" help:"the latest message that matched; absent before the first"`
	Lost  int         `chaos:"lost,kept" help:"messages of any kind that were overwritten before they could be read, so that count may be too low"`
}

func kernelLog(r Root) probes.Probe {
	return probes.DefineClosing(spec.Call{
		Name:    "host.kernel_log",
		Summary: "Counts the messages that the kernel logs from now on and match, such as errors of a disk.",
		Example: `probe disk_errors = host.kernel_log(match: 'I/O error|EXT4-fs error') every 1s`,
		Needs:   []spec.Need{{Kind: "kernel", Name: "/dev/kmsg", Install: "run as root"}},
	}, func(_ context.Context, _ env.Env, in kernelLogArgs) (probes.Take[KernelLog], func() error, error) {
		match, err := regexp.Compile(in.Match)
		if err != nil {
			return nil, nil, fmt.Errorf("`match`: %s is no regular expression: %s", value.Quote(in.Match), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		log, err := kmsg.Open(filepath.Join(r.Dev, "kmsg"))
		if err != nil {
			return nil, nil, err
		}
		return matching(log, match), log.Close, nil
	})
}

func matching(log *kmsg.Log, match *regexp.Regexp) probes.Take[KernelLog] {
	var out KernelLog
	told, at := 0, time.Now() // the count of the latest sample, and when it was
	return func(ctx context.Context) (KernelLog, error) {
		err := log.Drain(ctx, func(text string) {
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
		out.Lost, told, at = log.Lost(), out.Count, now
		return out, nil
	}
}
