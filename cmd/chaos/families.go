package main

import (
	"chaos/actions"
	actcpu "chaos/actions/cpu"
	actdisk "chaos/actions/disk"
	actexec "chaos/actions/exec"
	"chaos/actions/log"
	actmemory "chaos/actions/memory"
	actnetwork "chaos/actions/network"
	actprocess "chaos/actions/process"
	"chaos/probes"
	probexec "chaos/probes/exec"
	"chaos/probes/http"
	probprocess "chaos/probes/process"
	"chaos/probes/tcp"
	"chaos/runtime"
)

// moreFamilies lets the test binary add families of its own.
var moreFamilies func(runtime.Registries)

// families is the one place that knows every family.
func families() runtime.Registries {
	a := actions.NewRegistry()
	a.Add(actprocess.All()...)
	a.AddReverters(actprocess.Reverters()...)
	a.Add(actexec.All()...)
	a.Add(log.All()...)
	actcpu.Register(a)
	actmemory.Register(a)
	actdisk.Register(a)
	actnetwork.Register(a)
	p := probes.NewRegistry()
	p.Add(http.All()...)
	p.Add(tcp.All()...)
	p.Add(probexec.All()...)
	p.Add(probprocess.All()...)
	reg := runtime.Registries{Actions: a, Probes: p}
	if moreFamilies != nil {
		moreFamilies(reg)
	}
	return reg
}
