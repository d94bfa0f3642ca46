package host

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/needtest"

	"golang.org/x/sys/unix"
)

// The tools that people read counters with, as command:package.
var tools = []string{"iostat:sysstat", "mpstat:sysstat", "sar:sysstat", "vmstat:procps", "free:procps", "df:coreutils", "ss:iproute2", "nstat:iproute2", "ip:iproute2", "losetup:mount"}

// ownNetwork marks the process that is this test in a network namespace of its own, where nobody else has traffic.
const ownNetwork = "CHAOS_HOST_TEST_NETWORK"

// TestAgainstTheTools puts load on a loop device, a network and a core, and compares every field with what the tools print:
// levels lie between a reading before and one after, rates over the same five seconds agree within a tenth. Others may be
// busy here too, so what disagrees gets another two windows. With -v it prints the table that docs/host.md shows.
func TestAgainstTheTools(t *testing.T) {
	needtest.Root(t)
	for _, tool := range tools {
		name, from, _ := strings.Cut(tool, ":")
		if _, err := exec.LookPath(name); err != nil {
			needtest.Lacks(t, name+" is not installed; it is in the package "+from)
		}
	}
	if os.Getenv(ownNetwork) == "" {
		runtime.LockOSThread() // the child's death signal follows this thread
		defer runtime.UnlockOSThread()
		cmd := exec.Command(os.Args[0], "-test.run=^TestAgainstTheTools$", "-test.v", fmt.Sprintf("-update-docs=%t", *updateDocs))
		cmd.Env = append(os.Environ(), ownNetwork+"=1", "LC_ALL=C", "S_TIME_FORMAT=ISO")
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
		out, err := cmd.CombinedOutput()
		t.Logf("\n%s", out)
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	device := loopDevice(t)
	makeNetwork(t)
	ctx, cancel := context.WithCancel(context.Background())
	var load sync.WaitGroup
	defer load.Wait()
	defer cancel()
	for _, f := range []func(context.Context){spin, traffic, resets, unanswered, damaged, strange, func(ctx context.Context) { readAndWrite(ctx, t, device) }} {
		load.Go(func() { f(ctx) })
	}
	sleep(ctx, 3*time.Second) // until retransmissions are as many as there will be

	c := &comparison{t: t}
	c.rates(device)
	c.levels(t.TempDir())
	c.print()
	c.document()
}

// rates compares over windows of five seconds.
func (c *comparison) rates(device string) {
	open := func(name string, in args) probes.Sampler {
		s, err := openIn(Root{"/proc", "/sys", "/dev"}, name, in)
		if err != nil {
			c.t.Fatal(err)
		}
		return s
	}
	samplers := map[string]probes.Sampler{
		"cpu": open("host.cpu", nil), "core": open("host.cpu", args{"core": value.NumberOf(0)}), "memory": open("host.memory", nil),
		"io": open("host.io", args{"device": value.StringOf("/dev/" + device)}), "tcp": open("host.tcp", nil),
		"lo": open("host.network", args{"interface": value.StringOf("lo")}), "veth": open("host.network", args{"interface": value.StringOf("there")}),
		"cpu pressure": open("host.pressure", args{"resource": value.StringOf("cpu")}), "io pressure": open("host.pressure", args{"resource": value.StringOf("io")}),
		"memory pressure": open("host.pressure", args{"resource": value.StringOf("memory")}),
	}
	look := func() map[string]value.Value {
		out := map[string]value.Value{}
		var mu sync.Mutex
		var all sync.WaitGroup
		for name, s := range samplers {
			all.Go(func() {
				v, err := s.Sample(context.Background())
				if err != nil {
					c.t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				out[name] = v
			})
		}
		all.Wait()
		return out
	}
	look()
	for range 6 { // the windows of the tools and ours begin apart, on a busy machine by more
		time.Sleep(shortest)
		var iostat, mpstat, mpstatCore, sar, vmstat map[string]float64
		var all sync.WaitGroup
		look()
		counts, begun := c.nstat(), time.Now()
		all.Go(func() { iostat = c.json("iostat", "-y", "-x", "-o", "JSON", device, "5", "1") })
		all.Go(func() { mpstat = c.json("mpstat", "-o", "JSON", "5", "1") })
		all.Go(func() { mpstatCore = c.json("mpstat", "-P", "0", "-o", "JSON", "5", "1") })
		all.Go(func() {
			sar = c.averages("sar", "-u", "ALL", "-W", "-q", "ALL", "-n", "DEV", "-n", "EDEV", "-n", "TCP", "-n", "ETCP", "5", "1")
		})
		all.Go(func() { vmstat = c.vmstat("5", "2") })
		time.Sleep(5 * time.Second)
		ours := look()
		span := time.Since(begun).Seconds()
		after := c.nstat()
		all.Wait()

		of := func(probe, field string) float64 { return ours[probe].Get(field).Float() }
		for name, cpu := range map[string]struct {
			probe  string
			theirs map[string]float64
		}{"": {"cpu", mpstat}, ", one core": {"core", mpstatCore}} {
			m := cpu.theirs
			c.rate("cpu.busy"+name, "mpstat 100-%idle-%iowait", 100*of(cpu.probe, "busy"), 100-m["idle"]-m["iowait"], 1)
			c.rate("cpu.user"+name, "mpstat %usr+%nice+%guest+%gnice", 100*of(cpu.probe, "user"), m["usr"]+m["nice"]+m["guest"]+m["gnice"], 1)
			c.rate("cpu.system"+name, "mpstat %sys+%irq", 100*of(cpu.probe, "system"), m["sys"]+m["irq"], 1)
			c.rate("cpu.iowait"+name, "mpstat %iowait", 100*of(cpu.probe, "iowait"), m["iowait"], 1)
			c.rate("cpu.steal"+name, "mpstat %steal", 100*of(cpu.probe, "steal"), m["steal"], 1)
			c.rate("cpu.softirq"+name, "mpstat %soft", 100*of(cpu.probe, "softirq"), m["soft"], 1)
		}
		c.rate("cpu.user", "sar -u ALL %usr+%nice+%guest+%gnice", 100*of("cpu", "user"), sar["%usr"]+sar["%nice"]+sar["%guest"]+sar["%gnice"], 1)
		c.rate("cpu.user", "vmstat us", 100*of("cpu", "user"), vmstat["us"], 2)
		c.rate("cpu.system+softirq", "vmstat sy", 100*(of("cpu", "system")+of("cpu", "softirq")), vmstat["sy"], 2)
		c.rate("cpu.iowait", "vmstat wa", 100*of("cpu", "iowait"), vmstat["wa"], 2)
		c.rate("memory.swap_in, pages", "sar -W pswpin/s", of("memory", "swap_in")/float64(os.Getpagesize()), sar["pswpin/s"], 1)
		c.rate("memory.swap_out, pages", "sar -W pswpout/s", of("memory", "swap_out")/float64(os.Getpagesize()), sar["pswpout/s"], 1)

		c.rate("io.reads", "iostat -x r/s", of("io", "reads"), iostat["r/s"], 1)
		c.rate("io.writes", "iostat -x w/s", of("io", "writes"), iostat["w/s"], 1)
		c.rate("io.read_rate, KiB", "iostat -x rkB/s", of("io", "read_rate")/1024, iostat["rkB/s"], 1)
		c.rate("io.write_rate, KiB", "iostat -x wkB/s", of("io", "write_rate")/1024, iostat["wkB/s"], 1)
		ended := iostat["r/s"] + iostat["w/s"]
		c.rate("io.await, ms", "iostat -x r_await and w_await", of("io", "await")/1e6, (iostat["r/s"]*iostat["r_await"]+iostat["w/s"]*iostat["w_await"])/ended, 0.01)
		c.rate("io.queue", "iostat -x aqu-sz", of("io", "queue"), iostat["aqu-sz"], 0.01)
		c.rate("io.util", "iostat -x %util", 100*of("io", "util"), iostat["util"], 1)

		for _, n := range []struct{ probe, name string }{{"lo", "lo"}, {"veth", "there"}} {
			for field, column := range map[string]string{
				"rx": "rxkB/s", "tx": "txkB/s", "rx_packets": "rxpck/s", "tx_packets": "txpck/s",
				"rx_errors": "rxerr/s", "tx_errors": "txerr/s", "rx_drops": "rxdrop/s", "tx_drops": "txdrop/s",
			} {
				got := of(n.probe, field)
				unit := ""
				if strings.HasSuffix(column, "kB/s") {
					got, unit = got/1024, ", KiB"
				}
				option := "sar -n DEV "
				if strings.HasPrefix(column[2:], "err") || strings.HasPrefix(column[2:], "drop") {
					option = "sar -n EDEV "
				}
				c.rate("network."+field+unit+" of "+n.probe, option+column, got, sar[n.name+" "+column], 1)
			}
		}
		for field, columns := range map[string][2]string{
			"active": {"active/s", "TcpActiveOpens"}, "passive": {"passive/s", "TcpPassiveOpens"}, "retransmits": {"retrans/s", "TcpRetransSegs"},
			"resets": {"estres/s", "TcpEstabResets"}, "in_errors": {"isegerr/s", "TcpInErrs"},
		} {
			c.rate("tcp."+field, "sar -n TCP,ETCP "+columns[0], of("tcp", field), sar[columns[0]], 1)
			c.rate("tcp."+field, "nstat "+columns[1], of("tcp", field), (after[columns[1]]-counts[columns[1]])/span, 1)
		}
		for probe, column := range map[string]string{"cpu pressure": "cpu", "io pressure": "io", "memory pressure": "mem"} {
			name := strings.TrimSuffix(probe, " pressure")
			c.rate("pressure.some of "+name, "sar -q PSI %s"+column, 100*of(probe, "some"), sar["%s"+column], 1)
			c.rate("pressure.some10 of "+name, "sar -q PSI %s"+column+"-10", 100*of(probe, "some10"), sar["%s"+column+"-10"], 1)
			c.rate("pressure.some60 of "+name, "sar -q PSI %s"+column+"-60", 100*of(probe, "some60"), sar["%s"+column+"-60"], 1)
			if column != "cpu" {
				c.rate("pressure.full of "+name, "sar -q PSI %f"+column, 100*of(probe, "full"), sar["%f"+column], 1)
				c.rate("pressure.full10 of "+name, "sar -q PSI %f"+column+"-10", 100*of(probe, "full10"), sar["%f"+column+"-10"], 1)
				c.rate("pressure.full60 of "+name, "sar -q PSI %f"+column+"-60", 100*of(probe, "full60"), sar["%f"+column+"-60"], 1)
			}
		}
		if c.agree() {
			return
		}
	}
}

// levels compares what has a value at a moment, each up to ten times: others allocate, write and run meanwhile.
func (c *comparison) levels(dir string) {
	for range 10 {
		c.between("host.memory", nil, func() map[string]float64 {
			m := c.free()
			return map[string]float64{"total|free total": m["Mem: total"], "available|free available": m["Mem: available"], "free|free free": m["Mem: free"],
				"used|free used": m["Mem: used"], "cached|free buffers+cache": m["Mem: buffers"] + m["Mem: cache"], "swap_used|free swap used": m["Swap: used"]}
		})
		c.between("host.disk", args{"path": value.StringOf(dir)}, func() map[string]float64 {
			d := c.fields("df", "-B1", "--output=size,used,avail,itotal,iused", dir)
			return map[string]float64{"size|df size": d[0], "used|df used": d[1], "available|df avail": d[2],
				"used_ratio|df used/(used+avail)": d[1] / (d[1] + d[2]), "inodes_ratio|df iused/itotal": d[4] / d[3]}
		})
		c.between("host.tcp", nil, func() map[string]float64 {
			out := c.output("ss", "-s")
			_, rest, _ := strings.Cut(out, "estab ")
			digits, _, _ := strings.Cut(rest, ",")
			n, _ := strconv.ParseFloat(digits, 64)
			return map[string]float64{"established|ss -s estab": n}
		})
		c.between("host.load", nil, func() map[string]float64 {
			sar := c.averages("sar", "-q", "1", "1")
			return map[string]float64{"load1|sar -q ldavg-1": sar["ldavg-1"], "load5|sar -q ldavg-5": sar["ldavg-5"], "load15|sar -q ldavg-15": sar["ldavg-15"], "runnable|sar -q runq-sz": sar["runq-sz"]}
		})
		if c.agree() {
			return
		}
	}
}

// comparison collects rows; one that agreed once is settled.
type comparison struct {
	t    *testing.T
	rows []*row
}

type row struct {
	field, tool, ours, theirs string
	ok                        bool
}

func (c *comparison) put(field, tool, ours, theirs string, ok bool) {
	for _, r := range c.rows {
		if r.field == field && r.tool == tool {
			if !r.ok {
				*r = row{field, tool, ours, theirs, ok}
			}
			return
		}
	}
	c.rows = append(c.rows, &row{field, tool, ours, theirs, ok})
}

// rate demands a tenth, or the floor: what the tool rounds to, and the few steps of a clock that a window may be off.
func (c *comparison) rate(field, tool string, ours, theirs, floor float64) {
	c.put(field, tool, fmt.Sprintf("%.2f", ours), fmt.Sprintf("%.2f", theirs), math.Abs(ours-theirs) <= max(floor, math.Abs(theirs)/10))
}

// between demands that a sample lies between two readings of a tool. The names are those of the field and the tool.
func (c *comparison) between(probe string, in args, read func() map[string]float64) {
	s, err := openIn(Root{"/proc", "/sys", "/dev"}, probe, in)
	if err != nil {
		c.t.Fatal(err)
	}
	defer s.Close()
	sample(c.t, s)
	time.Sleep(shortest)
	before := read()
	v := sample(c.t, s)
	after := read()
	for names, a := range before {
		field, tool, _ := strings.Cut(names, "|")
		ours, b := v.Get(field).Float(), after[names]
		low, high := min(a, b), max(a, b)
		c.put(strings.TrimPrefix(probe, "host.")+"."+field, tool, level(ours), level(low)+" to "+level(high), low <= ours && ours <= high)
	}
}

// level is whole bytes, or a small number.
func level(n float64) string {
	if n >= 1e6 {
		return fmt.Sprintf("%.0f", n)
	}
	return fmt.Sprintf("%.4g", n)
}

func (c *comparison) agree() bool {
	for _, r := range c.rows {
		if !r.ok {
			return false
		}
	}
	return true
}

func (c *comparison) print() {
	slices.SortStableFunc(c.rows, func(a, b *row) int { return strings.Compare(a.field, b.field) })
	for _, r := range c.rows {
		c.t.Logf("%-32s %-40s %18s %32s", r.field, r.tool, r.ours, r.theirs)
		if !r.ok {
			c.t.Errorf("%s is %s, and %s says %s", r.field, r.ours, r.tool, r.theirs)
		}
	}
}

func (c *comparison) output(name string, arg ...string) string {
	out, err := exec.Command(name, arg...).CombinedOutput()
	if err != nil {
		c.t.Errorf("%s %v: %v\n%s", name, arg, err, out)
	}
	return string(out)
}

// json gives every number of an output of sysstat in JSON by its key; of several with the same key the last.
func (c *comparison) json(name string, arg ...string) map[string]float64 {
	out := map[string]float64{}
	d := json.NewDecoder(strings.NewReader(c.output(name, arg...)))
	for key := ""; ; {
		token, err := d.Token()
		if err != nil {
			return out
		}
		switch x := token.(type) {
		case string:
			key = x
		case float64:
			out[key] = x
		}
	}
}

// averages gives the numbers of sar's last lines by column, and by name and column where a table has several rows. A table
// on its own has its columns above the first line only.
func (c *comparison) averages(name string, arg ...string) map[string]float64 {
	out := map[string]float64{}
	var columns []string
	for line := range strings.Lines(c.output(name, arg...)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		if _, err := strconv.ParseFloat(f[len(f)-1], 64); err != nil {
			columns = f
			continue
		}
		for i := 1; f[0] == "Average:" && i < min(len(f), len(columns)); i++ {
			if n, err := strconv.ParseFloat(f[i], 64); err == nil {
				out[columns[i]] = n
				out[f[1]+" "+columns[i]] = n
			}
		}
	}
	return out
}

func (c *comparison) vmstat(arg ...string) map[string]float64 {
	var lines [][]string
	for line := range strings.Lines(c.output("vmstat", arg...)) {
		lines = append(lines, strings.Fields(line))
	}
	out := map[string]float64{}
	for i, name := range lines[1] {
		out[name], _ = strconv.ParseFloat(lines[len(lines)-1][i], 64)
	}
	return out
}

func (c *comparison) free() map[string]float64 {
	out := map[string]float64{}
	var columns []string
	for line := range strings.Lines(c.output("free", "-b", "-w")) {
		f := strings.Fields(line)
		if columns == nil {
			columns = f
			continue
		}
		for i, n := range f[1:] {
			out[f[0]+" "+columns[i]], _ = strconv.ParseFloat(n, 64)
		}
	}
	return out
}

// fields gives the numbers of the last line.
func (c *comparison) fields(name string, arg ...string) []float64 {
	lines := strings.Split(strings.TrimSpace(c.output(name, arg...)), "\n")
	var out []float64
	for _, f := range strings.Fields(lines[len(lines)-1]) {
		n, _ := strconv.ParseFloat(f, 64)
		out = append(out, n)
	}
	return out
}

func (c *comparison) nstat() map[string]float64 { return c.json("nstat", "-asz", "--json") }

// loopDevice makes a disk of a file.
func loopDevice(t *testing.T) string {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 64<<20); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", file).CombinedOutput()
	device := strings.TrimSpace(string(out))
	if err != nil {
		needtest.Lacks(t, "there is no loop device: "+device)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return filepath.Base(device)
}

// makeNetwork makes, in this process' own namespace, lo and a pair of interfaces, of which 10.77.0.2 never answers.
func makeNetwork(t *testing.T) {
	for _, line := range []string{
		"link set lo up", "link add here type veth peer name there", "link set here up", "link set there up",
		"addr add 10.77.0.1/24 dev here", "neigh add 10.77.0.2 lladdr 02:00:00:00:00:99 dev here nud permanent",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
}

// every calls f that often until the context ends.
func every(ctx context.Context, period time.Duration, f func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// spin keeps a core busy for a part of the time.
func spin(ctx context.Context) {
	every(ctx, 50*time.Millisecond, func() {
		for begun := time.Now(); time.Since(begun) < 20*time.Millisecond; {
		}
	})
}

// readAndWrite does so past the page cache, at a steady rate.
func readAndWrite(ctx context.Context, t *testing.T, device string) {
	fd, err := unix.Open("/dev/"+device, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	block, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Munmap(block)
	n := int64(0)
	every(ctx, 5*time.Millisecond, func() {
		n++
		unix.Pwrite(fd, block, n%500*65536)
		if n%2 == 0 {
			unix.Pread(fd, block[:16384], n*7%500*65536)
		}
	})
}
