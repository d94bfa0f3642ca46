package lint

import (
	"reflect"
	"sort"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
)

// catalogue is what the tests and the samples call.
type catalogue map[string]*spec.Call

func (c catalogue) Call(name string) (*spec.Call, bool) { s, ok := c[name]; return s, ok }

func (c catalogue) Names() []string {
	var out []string
	for n := range c {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

type selector struct {
	Target value.Handle `chaos:"target,positional,group=target"`
	Match  *string      `chaos:"match,group=target"`
	Signal string       `chaos:"signal" default:"TERM"`
}

type network struct {
	To        *string `chaos:"to"`
	Port      *int    `chaos:"port"`
	Interface *string `chaos:"interface"`
	Container *string `chaos:"container"`
}

func fakes() catalogue {
	c := catalogue{}
	add := func(s spec.Call, args, result any) {
		s.Params = spec.ParamsOf(reflect.TypeOf(args))
		if result != nil {
			s.Result = value.TypeOf(reflect.TypeOf(result))
		}
		c[s.Name] = &s
	}
	action := func(name, undo string, args any) {
		add(spec.Call{Kind: spec.Action, Name: name, Undo: undo, Selects: true}, args, nil)
	}
	probe := func(name string, args, result any) { add(spec.Call{Kind: spec.Probe, Name: name}, args, result) }

	add(spec.Call{Kind: spec.Action, Name: "process.start", Undo: "stops it", Result: value.THandle}, struct {
		Command  string        `chaos:"command,required,positional"`
		Args     []string      `chaos:"args"`
		Restart  bool          `chaos:"restart"`
		Ready    string        `chaos:"ready"`
		Limit    int           `chaos:"start_limit"`
		Interval time.Duration `chaos:"start_limit_interval"`
	}{}, nil)
	action("process.kill", "", selector{})
	action("process.pause", "resumes it", selector{})
	action("process.restart", "leaves it running", selector{})
	action("network.drop", "removes the rule", network{})
	action("network.delay", "removes the rule", struct {
		network
		Delay time.Duration `chaos:"delay,required"`
	}{})
	action("cpu.stress", "ends it", struct {
		Workers int          `chaos:"workers"`
		Load    value.RatioV `chaos:"load"`
	}{})
	action("memory.stress", "frees it", struct {
		Size value.SizeV `chaos:"size"`
	}{})
	action("disk.write", "removes the file", struct {
		Path string           `chaos:"path"`
		Rate value.BandwidthV `chaos:"rate"`
		Size value.SizeV      `chaos:"size"`
	}{})
	add(spec.Call{Kind: spec.Action, Name: "exec.run", Undo: "runs what `undo` says", UndoArg: "undo"}, struct {
		Command string   `chaos:"command,required,positional"`
		Undo    []string `chaos:"undo"`
	}{}, nil)
	add(spec.Call{Kind: spec.Action, Name: "log", Harmless: true}, struct {
		Value value.Value `chaos:"value,required,positional"`
	}{}, nil)

	type answer struct {
		OK      bool           `chaos:"ok"`
		Status  int            `chaos:"status"`
		Latency *time.Duration `chaos:"latency"`
		Body    string         `chaos:"body"`
	}
	type url struct {
		URL     string        `chaos:"url,required,positional"`
		Timeout time.Duration `chaos:"timeout" default:"5s"`
	}
	probe("http.get", url{}, answer{})
	probe("tcp.connect", url{}, answer{})
	probe("redis.ping", url{}, answer{})
	add(spec.Call{Kind: spec.Probe, Name: "http.load", Streaming: true}, struct {
		URL         string      `chaos:"url,required,positional"`
		Rate        value.RateV `chaos:"rate"`
		Concurrency int         `chaos:"concurrency"`
	}{}, struct {
		Errors     int           `chaos:"errors"`
		ErrorRatio value.RatioV  `chaos:"error_ratio"`
		RPS        value.RateV   `chaos:"rps"`
		Mean       time.Duration `chaos:"mean"`
		P99        time.Duration `chaos:"p99"`
	}{})
	probe("process.count", struct {
		Match string `chaos:"match,required"`
	}{}, 0.0)
	probe("process.state", selector{}, struct {
		Running  bool `chaos:"running"`
		Restarts int  `chaos:"restarts"`
	}{})
	probe("container.state", struct {
		Name string `chaos:"name"`
	}{}, struct {
		Running   bool `chaos:"running"`
		OOMKilled bool `chaos:"oom_killed"`
	}{})
	probe("host.cpu", struct{}{}, struct {
		Busy value.RatioV `chaos:"busy"`
	}{})
	probe("host.memory", struct{}{}, struct {
		Available value.SizeV `chaos:"available"`
	}{})
	probe("host.oom", struct{}{}, struct {
		Kills int `chaos:"kills"`
	}{})
	return c
}
