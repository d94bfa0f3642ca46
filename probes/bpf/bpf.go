// Package bpf watches what processes do, by programs in the kernel: what they open, execute, and send over TCP.
//
// The programs are put together here, instruction by instruction, so no compiler is needed where chaos runs. They count
// into a table in the kernel, by process and by what it did, and the table is read once a period.
package bpf

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
)

// All lists the probes of this package. They belong to the family `host`.
func All() []probes.Probe { return allOn(mountedTracefs) }

func allOn(trace tracefs) []probes.Probe {
	return []probes.Probe{opensProbe(trace), execsProbe(trace), flowsProbe(trace)}
}

// who narrows down whose doings count.
type who struct {
	Pid   *int   `chaos:"pid" range:">=1" help:"only what the process with this id did"`
	Name  string `chaos:"name" help:"only what processes with this name did, as ps -o comm shows it: at most 15 bytes"`
	Count int    `chaos:"count" default:"5" range:">=1 <=100" help:"how many entries the list has at most, the largest first; the sums are of all"`
}

// filter is who and match, checked.
type filter struct {
	who
	match *regexp.Regexp // nil for everything
}

func newFilter(w who, match string) (filter, error) {
	f := filter{who: w}
	if len(w.Name) > 15 {
		return f, fmt.Errorf("`name`: the kernel keeps 15 bytes of a process's name, and %s is longer; write %s", value.Quote(w.Name), value.Quote(strings.ToValidUTF8(w.Name[:15], "")))
	}
	if match == "" {
		return f, nil
	}
	var err error
	if f.match, err = regexp.Compile(match); err != nil {
		return f, fmt.Errorf("`match`: %s is no regular expression: %s", value.Quote(match), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return f, nil
}

func (f *filter) passes(e entry) bool {
	return (f.Pid == nil || *f.Pid == e.Pid) && (f.Name == "" || f.Name == e.Name) && (f.match == nil || f.match.MatchString(e.text()))
}

func needs(tracepoint string) []spec.Need {
	return []spec.Need{
		{Kind: "privilege", Name: "CAP_BPF", Install: "run as root"},
		{Kind: "privilege", Name: "CAP_PERFMON", Install: "run as root"},
		{Kind: "kernel", Name: needPrefix + tracepoint, Install: "run a kernel with CONFIG_BPF_EVENTS, CONFIG_FTRACE_SYSCALLS and CONFIG_DEBUG_INFO_BTF"},
	}
}

func define[A any](k kind, call spec.Call, sample any, trace tracefs, check func(A) (filter, error)) probes.Probe {
	call.Name = "host." + string(k)
	restore := func(data json.RawMessage) (probes.Mergeable, error) { return restore(k, data) }
	return probes.DefineStream(call, sample, restore, func(_ context.Context, _ env.Env, in A) (probes.Streamer, error) {
		f, err := check(in)
		if err != nil {
			return nil, err
		}
		return open(k, f, trace, maxEntries(k))
	})
}

type opensArgs struct {
	Match string `chaos:"match" help:"only paths in which this regular expression (RE2) is found, as in '^/etc/'"`
	who
}

// OpensSample is what a window of `host.opens` shows.
type OpensSample struct {
	Count  int          `chaos:"count" help:"how often a file was opened"`
	Failed int          `chaos:"failed" help:"how often opening failed, as for a file that is not there; not in count"`
	Rate   *value.RateV `chaos:"rate" help:"count, per second"`
	Files  []OpenedFile `chaos:"files" help:"those asked for most often, by process; in a summary from four times as many of each period"`
	Lost   int          `chaos:"lost" help:"calls that found the table full, and are counted nowhere else: more than 32768 different ones came within two periods"`
}

// OpenedFile is one path that one process opened.
type OpenedFile struct {
	Path   string `chaos:"path" help:"as the process gave it, so perhaps relative to its folder; cut after 255 bytes"`
	Name   string `chaos:"name" help:"the name of the process"`
	Pid    int    `chaos:"pid" help:"its id"`
	Count  int    `chaos:"count" help:"how often it was opened"`
	Failed int    `chaos:"failed" help:"how often that failed"`
}

func opensProbe(trace tracefs) probes.Probe {
	return define(opens, spec.Call{
		Summary: "Counts the files that processes open, by path and process, from open, openat, openat2 and creat. What chaos itself opens is left out, and 32-bit programs and io_uring are not seen.",
		Example: `probe opens = host.opens(match: '^/etc/') every 1s`,
		Needs:   needs(openTracepoint),
	}, OpensSample{}, trace, func(in opensArgs) (filter, error) { return newFilter(in.who, in.Match) })
}

type execsArgs struct {
	Match string `chaos:"match" help:"only programs in whose path this regular expression (RE2) is found, as in '/s?sh$'"`
	who
}

// ExecsSample is what a window of `host.execs` shows.
type ExecsSample struct {
	Count    int          `chaos:"count" help:"how many programs were executed"`
	Rate     *value.RateV `chaos:"rate" help:"count, per second"`
	Programs []Program    `chaos:"programs" help:"those executed most often, by the process that started them; in a summary from four times as many of each period"`
	Lost     int          `chaos:"lost" help:"executions that found the table full, and are counted nowhere else: more than 16384 different ones came within two periods"`
}

// Program is one program that one process started.
type Program struct {
	Path  string `chaos:"path" help:"of the program, as it was given; cut after 255 bytes"`
	Name  string `chaos:"name" help:"the name of the process that started it: the parent of the one that became it"`
	Pid   int    `chaos:"pid" help:"the id of that process"`
	Count int    `chaos:"count" help:"how often"`
}

func execsProbe(trace tracefs) probes.Probe {
	return define(execs, spec.Call{
		Summary: "Counts the programs that are executed, by path and by the process that started them. The helpers of chaos are left out; the commands of a script count.",
		Example: `probe execs = host.execs(name: "cron") every 1s`,
		Needs:   needs(execTracepoint),
	}, ExecsSample{}, trace, func(in execsArgs) (filter, error) { return newFilter(in.who, in.Match) })
}

type flowsArgs struct {
	Match string `chaos:"match" help:"only peers in whose address and port, as in 10.0.0.7:5432 or [fd00::7]:5432, this regular expression (RE2) is found"`
	who
}

// FlowsSample is what a window of `host.flows` shows.
type FlowsSample struct {
	Sent        value.SizeV       `chaos:"sent" help:"bytes that processes handed to the kernel to send"`
	Received    value.SizeV       `chaos:"received" help:"bytes that processes took from the kernel"`
	SendRate    *value.BandwidthV `chaos:"send_rate" help:"sent, per second"`
	ReceiveRate *value.BandwidthV `chaos:"receive_rate" help:"received, per second"`
	Connects    int               `chaos:"connects" help:"connections that processes began to open, also those that failed"`
	Flows       []Flow            `chaos:"flows" help:"the largest, by process and peer; in a summary from four times as many of each period"`
	Lost        int               `chaos:"lost" help:"calls that found the table full, and are counted nowhere else: more than 16384 different flows came within two periods"`
}

// Flow is what one process and one peer said to each other, on all their connections to one port.
type Flow struct {
	Name      string      `chaos:"name" help:"the name of the process"`
	Pid       int         `chaos:"pid" help:"its id"`
	Direction string      `chaos:"direction" help:"out: the process connected to the peer; in: the peer connected to the process"`
	Peer      string      `chaos:"peer" help:"the address of the other side"`
	Port      int         `chaos:"port" help:"of the peer for out, of this machine for in"`
	Sent      value.SizeV `chaos:"sent" help:"bytes to the peer"`
	Received  value.SizeV `chaos:"received" help:"bytes from the peer"`
	Connects  int         `chaos:"connects" help:"connections that it began to open"`
}

func flowsProbe(trace tracefs) probes.Probe {
	return define(flows, spec.Call{
		Summary: "Counts what processes send and receive over TCP, by process, peer and port; connections from before count too. What chaos itself sends is left out, and so is what MPTCP carries.",
		Example: `probe flows = host.flows(match: ':5432$') every 1s`,
		Needs:   needs(sendTracepoint),
	}, FlowsSample{}, trace, func(in flowsArgs) (filter, error) { return newFilter(in.who, in.Match) })
}
