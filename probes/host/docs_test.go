package host

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var updateDocs = flag.Bool("update-docs", false, "write the table of docs/host.md anew, with what TestAgainstTheTools measures")

const (
	guide     = "../../docs/host.md"
	tableHead = "| field | source | compared with | ours | theirs |\n|---|---|---|---|---|\n"
	tableEnd  = "\n<!-- end of the table -->"
)

// sources are where each field comes from, in the words of proc(5) and of the kernel's documentation.
var sources = map[string]string{
	"load.load1":          "`/proc/loadavg`, first field",
	"load.load5":          "`/proc/loadavg`, second",
	"load.load15":         "`/proc/loadavg`, third",
	"load.runnable":       "`/proc/loadavg`, fourth before the slash, less the one that looks",
	"cpu.busy":            "`/proc/stat` `cpu`: all but `idle` and `iowait`, of all",
	"cpu.user":            "`user` + `nice`, which hold `guest` and `guest_nice`",
	"cpu.system":          "`system` + `irq`",
	"cpu.iowait":          "`iowait`",
	"cpu.steal":           "`steal`",
	"cpu.softirq":         "`softirq`",
	"cpu.cores":           "the lines `cpuN` of `/proc/stat`",
	"memory.total":        "`/proc/meminfo` `MemTotal`",
	"memory.available":    "`MemAvailable`",
	"memory.free":         "`MemFree`",
	"memory.used":         "`MemTotal` - `MemAvailable`",
	"memory.used_ratio":   "`used` of `MemTotal`",
	"memory.cached":       "`Buffers` + `Cached` + `SReclaimable`",
	"memory.swap_used":    "`SwapTotal` - `SwapFree`",
	"memory.swap_in":      "`/proc/vmstat` `pswpin`, times the size of a page",
	"memory.swap_out":     "`pswpout`, likewise",
	"disk.size":           "statfs(2) `f_blocks` times `f_frsize`",
	"disk.used":           "(`f_blocks` - `f_bfree`) times `f_frsize`",
	"disk.available":      "`f_bavail` times `f_frsize`",
	"disk.used_ratio":     "`used` of `used` + `available`",
	"disk.inodes_ratio":   "(`f_files` - `f_ffree`) of `f_files`",
	"io.reads":            "`/sys/block/DEVICE/stat`, field 1: reads completed",
	"io.writes":           "field 5: writes completed",
	"io.read_rate":        "field 3: sectors read, times 512",
	"io.write_rate":       "field 7: sectors written, times 512",
	"io.await":            "fields 4 + 8 (ms reading and writing) by 1 + 5",
	"io.queue":            "field 11: weighted ms of I/O",
	"io.util":             "field 10: ms doing I/O",
	"network.rx":          "`/proc/net/dev` receive `bytes`",
	"network.tx":          "transmit `bytes`",
	"network.rx_packets":  "receive `packets`",
	"network.tx_packets":  "transmit `packets`",
	"network.rx_errors":   "receive `errs`",
	"network.tx_errors":   "transmit `errs`",
	"network.rx_drops":    "receive `drop`",
	"network.tx_drops":    "transmit `drop`",
	"tcp.active":          "`/proc/net/snmp` `Tcp: ActiveOpens`",
	"tcp.passive":         "`PassiveOpens`",
	"tcp.retransmits":     "`RetransSegs`",
	"tcp.resets":          "`EstabResets`",
	"tcp.established":     "`CurrEstab`, a level",
	"tcp.in_errors":       "`InErrs`",
	"pressure.some":       "`/proc/pressure/RESOURCE` `some` `total`",
	"pressure.full":       "`full` `total`",
	"pressure.some10":     "`some` `avg10`",
	"pressure.some60":     "`some` `avg60`",
	"pressure.full10":     "`full` `avg10`",
	"pressure.full60":     "`full` `avg60`",
	"oom.kills":           "`/proc/vmstat` `oom_kill`, less its value when the probe began",
	"oom.last":            "`/dev/kmsg`: “Killed process PID (NAME)”",
	"kernel_log.count":    "`/dev/kmsg`, messages since the probe began",
	"kernel_log.rate":     "the same, since the sample before",
	"kernel_log.last":     "the text of the latest",
	"kernel_log.lost":     "gaps in their sequence numbers",
	"top.processes: pid":  "`/proc/PID`",
	"top.processes: name": "`/proc/PID/stat` `comm`",
	"top.processes: cpu":  "`utime` + `stime`",
	"top.processes: rss":  "`rss`, times the size of a page",
	"top.processes: io":   "`/proc/PID/io` `read_bytes` + `write_bytes`",
}

// fields lists all of the family, in the order of the registry.
func fields() []string {
	var out []string
	for _, p := range All() {
		name := strings.TrimPrefix(p.Spec().Name, "host.")
		for _, f := range p.Spec().Result.Fields {
			if f.Name == "processes" {
				for _, inner := range f.Type.ElemType().Fields {
					out = append(out, name+".processes: "+inner.Name)
				}
				continue
			}
			out = append(out, name+"."+f.Name)
		}
	}
	return out
}

// table is that of the guide, with the rows of a comparison.
func (c *comparison) table() string {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, field := range fields() {
		said := false
		for _, r := range c.rows {
			if base, _, _ := strings.Cut(strings.NewReplacer(", ", "|", " of ", "|", "+", "|").Replace(r.field), "|"); base == field {
				about := strings.Trim(strings.TrimPrefix(r.field, field), ", ")
				cell := ""
				if about != "" {
					cell = " (" + about + ")"
				}
				fmt.Fprintf(&b, "| `%s`%s | %s | `%s` | %s | %s |\n", field, cell, sources[field], r.tool, r.ours, r.theirs)
				said = true
			}
		}
		if !said {
			fmt.Fprintf(&b, "| `%s` | %s | – | | |\n", field, sources[field])
		}
	}
	return b.String()
}

// cells gives the first three cells of each row of the guide's table: what does not depend on the measurement.
func cells(table string) []string {
	var out []string
	for line := range strings.Lines(table) {
		if f := strings.Split(line, "|"); len(f) > 4 {
			out = append(out, strings.Join(f[1:4], "|"))
		}
	}
	return out
}

func (c *comparison) document() {
	data, err := os.ReadFile(guide)
	if err != nil {
		c.t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableHead)
	old, after, end := strings.Cut(rest, tableEnd)
	if !ok || !end {
		c.t.Fatalf("%s has no table", guide)
	}
	table := c.table()
	if *updateDocs {
		if err := os.WriteFile(guide, []byte(before+table+tableEnd+after), 0o644); err != nil {
			c.t.Fatal(err)
		}
		return
	}
	if got, want := strings.Join(cells(tableHead+old), "\n"), strings.Join(cells(table), "\n"); got != want {
		c.t.Errorf("the table of %s is not of these fields and tools; if that is right: go test ./probes/host -run TestAgainstTheTools -update-docs\ngot\n%s\nwant\n%s", guide, got, want)
	}
}

func TestTheGuideSaysWhereEveryFieldComesFrom(t *testing.T) {
	data, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	known := fields()
	for _, field := range known {
		if sources[field] == "" {
			t.Errorf("%s has no source", field)
		}
		if !strings.Contains(string(data), "| `"+field+"`") {
			t.Errorf("%s has no row for %s", guide, field)
		}
	}
	if len(sources) != len(known) {
		t.Errorf("there are %d sources for %d fields", len(sources), len(known))
	}
}
