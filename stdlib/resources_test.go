package stdlib_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaos/probes/host"
	"chaos/runtime/event"
)

// state is how a made-up machine is. Shares are of the time, rates are per second.
type state struct {
	busy                          float64
	cpuWaits, memoryWaits, ioWait float64
	memoryFree                    int // per cent
	drops, retransmits, errors    float64
	killed                        int
	log                           string // a message of the kernel
}

// machine shows itself in files, whose counters go on until the test ends. What happens once, happens when it is told to: before
// somebody looks it would not count.
func machine(t *testing.T, s state) (root host.Root, happen func()) {
	dir := t.TempDir()
	root = host.Root{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys"), Dev: filepath.Join(dir, "dev")}
	for _, folder := range []string{"proc/1/net", "proc/pressure", "sys/block/vda/device", "sys/class/block", "dev"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"proc/self": "1", "proc/net": "self/net", "sys/class/block/vda": "../../block/vda"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	kmsg := filepath.Join(dir, "dev", "kmsg")
	if err := os.WriteFile(kmsg, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	said := s.log == ""
	begun := time.Now()
	var happened atomic.Bool
	write := func() {
		killed := 0
		if happened.Load() {
			killed = s.killed
		}
		if !said && happened.Load() {
			said = true
			if err := os.WriteFile(kmsg, []byte("3,1,1,-;"+s.log+"\n"), 0o644); err != nil {
				t.Error(err)
			}
		}
		seconds := time.Since(begun).Seconds()
		counted := func(perSecond float64) int { return 1000 + int(perSecond*seconds) }
		waits := func(share float64) string {
			return fmt.Sprintf("some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", counted(share*1e6))
		}
		for name, text := range map[string]string{
			"proc/stat":            fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n", counted(100*s.busy), counted(100*(1-s.busy))),
			"proc/meminfo":         fmt.Sprintf("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: %d kB\nBuffers: 1 kB\nCached: 1 kB\nSReclaimable: 1 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n", 10*s.memoryFree),
			"proc/vmstat":          fmt.Sprintf("pswpin 0\npswpout 0\noom_kill %d\n", killed),
			"proc/pressure/cpu":    waits(s.cpuWaits),
			"proc/pressure/memory": waits(s.memoryWaits),
			"proc/pressure/io":     waits(s.ioWait),
			"proc/1/net/dev":       fmt.Sprintf("a\nb\neth0: 0 0 %d %d 0 0 0 0 0 0 0 0 0 0 0 0\n", counted(s.errors), counted(s.drops)),
			"proc/1/net/snmp":      fmt.Sprintf("Tcp: ActiveOpens PassiveOpens EstabResets CurrEstab RetransSegs InErrs\nTcp: 0 0 0 0 %d 0\n", counted(s.retransmits)),
			"sys/block/vda/stat":   "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
		} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
				t.Error(err)
			}
			if err := os.Rename(path+".new", path); err != nil { // never half a file
				t.Error(err)
			}
		}
	}
	write()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				write()
			case <-ctx.Done():
				return
			}
		}
	}()
	return root, func() { happened.Store(true) }
}

func TestResourcesTellWhatTheMachineIsShortOf(t *testing.T) {
	for name, c := range map[string]struct {
		state  state
		expect string
	}{
		"an idle machine is healthy": {state{memoryFree: 50},
			`resources.healthy and not resources.saturated and resources.bottleneck == "none" and resources.sound and resources.cpu_used < 10% and resources.memory_used == 50%`},
		"busy is not saturated": {state{memoryFree: 50, busy: 1}, `resources.cpu_used > 90% and resources.healthy`},
		"a core is waited for":  {state{memoryFree: 50, busy: 1, cpuWaits: 0.6, ioWait: 0.4}, `resources.cpu_saturated and resources.saturated and not resources.healthy and resources.bottleneck == "cpu"`},
		"a disk is waited for":  {state{memoryFree: 50, cpuWaits: 0.4, ioWait: 0.8}, `resources.disk_saturated and not resources.healthy and resources.bottleneck == "disk"`},
		"memory comes first":    {state{memoryFree: 9, cpuWaits: 0.4, ioWait: 0.9, memoryWaits: 0.5}, `resources.memory_saturated and resources.disk_saturated and resources.bottleneck == "memory"`},
		"memory is full":        {state{memoryFree: 2}, `not resources.healthy and not resources.saturated and resources.memory_used > 97%`},
		"packets are dropped":   {state{memoryFree: 50, drops: 100}, `resources.network_saturated and not resources.healthy and resources.bottleneck == "network"`},
		"segments get lost":     {state{memoryFree: 50, retransmits: 100}, `resources.network_saturated and resources.bottleneck == "network"`},
		"packets are damaged":   {state{memoryFree: 50, errors: 100}, `resources.network_errors > 50/s and not resources.network_saturated and not resources.healthy`},
		"a disk fails":          {state{memoryFree: 50, log: "blk_update_request: I/O error, dev vda, sector 5"}, `resources.disk_errors == 1 and resources.cpu_errors == 0 and not resources.sound and resources.healthy`},
		"somebody was killed":   {state{memoryFree: 50, killed: 1}, `resources.memory_errors == 1 and not resources.saturated and not resources.healthy`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, happen := machine(t, c.state)
			reg := registriesIn(host.In(root)...)
			script := "use \"std/resources\"\nexperiment \"x\" {\n steady { settle: 20s; expect " + c.expect + " }\n}"
			looks := "resources.oom"
			if c.state.log != "" {
				looks = "resources.disk_log"
			}
			exit, failed := runWith(t, reg, script, map[string]string{"resources.period": "400ms"}, func(e event.Event) {
				if s, ok := e.Data.(event.Sample); ok && s.Probe == looks {
					happen()
				}
			})
			if exit != 0 {
				t.Errorf("exit %d, %s", exit, strings.Join(failed, "; "))
			}
		})
	}
}
