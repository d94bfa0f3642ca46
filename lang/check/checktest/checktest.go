// Package checktest holds the actions and probes that tests of the language call.
package checktest

import (
	"reflect"
	"sort"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
)

// Catalogue is a small set of realistic actions and probes.
type Catalogue map[string]*spec.Call

// Call finds an action or a probe.
func (c Catalogue) Call(name string) (*spec.Call, bool) { s, ok := c[name]; return s, ok }

// Names are those of all, sorted.
func (c Catalogue) Names() []string {
	var out []string
	for n := range c {
		out = append(out, n)
	}
	sort.Strings(out)
	return out
}

type selector struct {
	Target value.Handle `chaos:"target,positional,group=target"`
	PID    *int         `chaos:"pid,group=target"`
	Port   *int         `chaos:"port,group=target"`
	Match  *string      `chaos:"match,group=target"`
	Unit   *string      `chaos:"unit,group=target"`
}

type network struct {
	To        *string `chaos:"to"`
	From      *string `chaos:"from"`
	Port      *int    `chaos:"port"`
	Protocol  string  `chaos:"protocol" enum:"tcp udp icmp" default:"tcp"`
	Direction string  `chaos:"direction" enum:"in out both" default:"out"`
	Interface *string `chaos:"interface"`
	Container *string `chaos:"container"`
}

// New makes the catalogue, which a test may add to.
func New() Catalogue {
	c := Catalogue{}
	add := func(s spec.Call, args, result any) {
		s.Params = spec.ParamsOf(reflect.TypeOf(args))
		if result != nil && s.Result == nil {
			s.Result = value.TypeOf(reflect.TypeOf(result))
			if s.Result.Kind == value.Struct {
				s.Result.Name = s.Name
			}
		}
		c[s.Name] = &s
	}
	action := func(name string, s spec.Call, args, result any) {
		s.Kind, s.Name = spec.Action, name
		add(s, args, result)
	}
	probe := func(name string, args, result any) { add(spec.Call{Kind: spec.Probe, Name: name}, args, result) }

	action("process.start", spec.Call{Undo: "stops it", Result: value.THandle, Example: `process.start("nginx")`}, struct {
		Command     string            `chaos:"command,required,positional"`
		Args        []string          `chaos:"args"`
		Env         map[string]string `chaos:"env"`
		Restart     bool              `chaos:"restart" default:"false"`
		StartLimit  int               `chaos:"start_limit" default:"5"`
		Interval    time.Duration     `chaos:"start_limit_interval" default:"10s"`
		Ready       string            `chaos:"ready"`
		ReadyWithin time.Duration     `chaos:"ready_within" default:"10s"`
	}{}, nil)
	action("process.kill", spec.Call{Selects: true}, struct {
		selector
		Signal string `chaos:"signal" enum:"TERM KILL INT HUP" default:"TERM"`
	}{}, nil)
	action("process.pause", spec.Call{Selects: true, Undo: "resumes it"}, selector{}, nil)
	action("process.restart", spec.Call{Undo: "leaves it running"}, selector{}, nil)
	action("network.delay", spec.Call{Undo: "removes the rule", Selects: true}, struct {
		network
		Delay  time.Duration `chaos:"delay,required"`
		Jitter time.Duration `chaos:"jitter"`
	}{}, nil)
	action("network.drop", spec.Call{Undo: "removes the rule", Selects: true}, network{}, nil)
	action("cpu.stress", spec.Call{Undo: "ends the workers"}, struct {
		Workers int          `chaos:"workers"`
		Load    value.RatioV `chaos:"load" default:"100%"`
	}{}, nil)
	action("memory.stress", spec.Call{Undo: "frees it"}, struct {
		Size  value.SizeV  `chaos:"size,positional,group=size"`
		Leave *value.SizeV `chaos:"leave,group=size"`
	}{}, nil)
	action("disk.write", spec.Call{Undo: "removes the file"}, struct {
		Path string           `chaos:"path,required,positional"`
		Rate value.BandwidthV `chaos:"rate"`
		Size value.SizeV      `chaos:"size"`
	}{}, struct {
		Rate value.BandwidthV `chaos:"rate"`
	}{})
	action("exec.run", spec.Call{Undo: "runs what `undo` says", UndoArg: "undo"}, struct {
		Command string   `chaos:"command,required,positional"`
		Args    []string `chaos:"args"`
		Undo    []string `chaos:"undo"`
	}{}, struct {
		ExitCode int    `chaos:"exit_code"`
		Stdout   string `chaos:"stdout"`
	}{})
	action("log", spec.Call{Harmless: true}, struct {
		Value value.Value `chaos:"value,required,positional"`
	}{}, nil)
	action("ask", spec.Call{Harmless: true}, struct {
		Question string        `chaos:"question,required,positional"`
		Timeout  time.Duration `chaos:"timeout" default:"10m"`
	}{}, struct {
		Answer string        `chaos:"answer"`
		Waited time.Duration `chaos:"waited"`
	}{})

	type answer struct {
		OK      bool              `chaos:"ok"`
		Status  int               `chaos:"status"`
		Latency *time.Duration    `chaos:"latency"`
		Body    string            `chaos:"body"`
		JSON    any               `chaos:"json"`
		Headers map[string]string `chaos:"headers"`
		Error   string            `chaos:"error"`
	}
	probe("http.get", struct {
		URL     string            `chaos:"url,required,positional"`
		Headers map[string]string `chaos:"headers"`
		Timeout time.Duration     `chaos:"timeout" default:"5s"`
	}{}, answer{})
	probe("http.load", struct {
		URL         string      `chaos:"url,required,positional"`
		Rate        value.RateV `chaos:"rate"`
		Concurrency int         `chaos:"concurrency"`
	}{}, struct {
		Requests   int            `chaos:"requests"`
		Errors     int            `chaos:"errors"`
		ErrorRatio value.RatioV   `chaos:"error_ratio"`
		RPS        value.RateV    `chaos:"rps"`
		Mean       time.Duration  `chaos:"mean"`
		P50        time.Duration  `chaos:"p50"`
		P95        time.Duration  `chaos:"p95"`
		P99        time.Duration  `chaos:"p99"`
		Status     map[string]int `chaos:"status"`
	}{})
	c["http.load"].Streaming = true
	probe("process.count", struct {
		Match string `chaos:"match,required"`
	}{}, 0.0)
	probe("process.state", selector{}, struct {
		Running  bool           `chaos:"running"`
		PID      *int           `chaos:"pid"`
		Restarts int            `chaos:"restarts,kept"`
		Uptime   *time.Duration `chaos:"uptime"`
	}{})
	probe("tcp.connect", struct {
		Address string        `chaos:"address,required,positional"`
		Timeout time.Duration `chaos:"timeout" default:"5s"`
	}{}, struct {
		OK      bool           `chaos:"ok"`
		Latency *time.Duration `chaos:"latency"`
		Error   string         `chaos:"error"`
	}{})
	probe("redis.ping", struct {
		Address string        `chaos:"address,required,positional"`
		Timeout time.Duration `chaos:"timeout" default:"5s"`
	}{}, struct {
		OK      bool           `chaos:"ok"`
		Latency *time.Duration `chaos:"latency"`
	}{})
	probe("container.state", struct {
		Name string `chaos:"name,required,positional"`
	}{}, struct {
		Running   bool `chaos:"running"`
		OOMKilled bool `chaos:"oom_killed"`
	}{})
	probe("prom.query", struct {
		Query  string `chaos:"query,required,positional"`
		Server string `chaos:"server" default:"http://127.0.0.1:9090"`
	}{}, struct {
		Value  *float64 `chaos:"value,anyunit"`
		Series int      `chaos:"series"`
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
