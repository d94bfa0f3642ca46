// Package families is the one place that knows every family.
package families

import (
	"chaos/actions"
	"chaos/actions/ask"
	actcpu "chaos/actions/cpu"
	actdisk "chaos/actions/disk"
	actexec "chaos/actions/exec"
	actfile "chaos/actions/file"
	acthttp "chaos/actions/http"
	"chaos/actions/log"
	actmemory "chaos/actions/memory"
	actnetwork "chaos/actions/network"
	actprocess "chaos/actions/process"
	"chaos/probes"
	"chaos/probes/bpf"
	"chaos/probes/dns"
	probexec "chaos/probes/exec"
	probfile "chaos/probes/file"
	"chaos/probes/host"
	"chaos/probes/http"
	"chaos/probes/logfile"
	probprocess "chaos/probes/process"
	"chaos/probes/prom"
	"chaos/probes/tcp"
	"chaos/runtime"
)

// All registers every family. asker answers the questions of a script, nil for nobody.
func All(asker ask.Asker) runtime.Registries {
	a := actions.NewRegistry()
	a.Add(actprocess.All()...)
	a.AddReverters(actprocess.Reverters()...)
	a.Add(actexec.All()...)
	a.AddReverters(actexec.Reverters()...)
	a.Add(actfile.All()...)
	a.AddReverters(actfile.Reverters()...)
	a.Add(acthttp.All()...)
	a.AddReverters(acthttp.Reverters()...)
	a.Add(ask.All(asker)...)
	a.Add(log.All()...)
	actcpu.Register(a)
	actmemory.Register(a)
	actdisk.Register(a)
	actnetwork.Register(a)
	p := probes.NewRegistry()
	p.Add(http.All()...)
	p.Add(tcp.All()...)
	p.Add(probexec.All()...)
	p.Add(probfile.All()...)
	p.Add(logfile.All()...)
	p.Add(dns.All()...)
	p.Add(bpf.All()...)
	p.Add(probprocess.All()...)
	p.Add(host.All()...)
	p.Add(prom.All()...)
	return runtime.Registries{Actions: a, Probes: p}
}
