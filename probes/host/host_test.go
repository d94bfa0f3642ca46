package host

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/env"
	"chaos/runtime/target"
)

// tree is a /proc and a /sys made of files.
type tree struct {
	Root
	t *testing.T
}

func plant(t *testing.T) tree {
	t.Helper()
	dir := t.TempDir()
	f := tree{Root{Proc: filepath.Join(dir, "proc"), Sys: filepath.Join(dir, "sys"), Dev: filepath.Join(dir, "dev")}, t}
	f.put("proc/1/stat", "1 (init) S 0\n")
	f.link("proc/self", "1")
	f.link("proc/net", "self/net")
	return f
}

func (f tree) path(name string) string { return filepath.Join(filepath.Dir(f.Proc), name) }

func (f tree) put(name, text string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f tree) link(name, to string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Symlink(to, f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

// disk makes a device of sysfs, with a partition of the same counters.
func (f tree) disk(name, stat string) {
	f.put("sys/devices/block/"+name+"/stat", stat)
	f.put("sys/devices/block/"+name+"/device/model", "")
	f.put("sys/devices/block/"+name+"/"+name+"1/stat", stat)
	f.link("sys/block/"+name, "../devices/block/"+name)
	f.link("sys/class/block/"+name, "../../devices/block/"+name)
	f.link("sys/class/block/"+name+"1", "../../devices/block/"+name+"/"+name+"1")
}

type args map[string]value.Value

func (f tree) open(name string, in args) (probes.Sampler, error) {
	return openIn(f.Root, name, in)
}

func openIn(r Root, name string, in args) (probes.Sampler, error) {
	p, ok := probes.NewRegistry(In(r)...).Probe(name)
	if !ok {
		panic("there is no probe " + name)
	}
	o, err := p.Open(context.Background(), env.Env{Dir: "/"}, in)
	if err != nil {
		return nil, err
	}
	return o.(probes.Sampler), nil
}

func (f tree) opened(name string, in args) probes.Sampler {
	f.t.Helper()
	s, err := f.open(name, in)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { s.Close() })
	return s
}

// refused demands an error with these parts.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q in it", err, part)
		}
	}
}

func sample(t *testing.T, s probes.Sampler) value.Value {
	t.Helper()
	v, err := s.Sample(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// between takes a sample, and does something a moment after its first reading.
func between(t *testing.T, s probes.Sampler, do func()) value.Value {
	t.Helper()
	later := time.AfterFunc(shortest/2, do)
	defer later.Stop()
	return sample(t, s)
}

func near(t *testing.T, v value.Value, field string, want float64) {
	t.Helper()
	if got := v.Get(field).Float(); math.Abs(got-want) > 1e-6*math.Max(1, math.Abs(want)) {
		t.Errorf(".%s is %v, want %v", field, got, want)
	}
}

func TestSpecs(t *testing.T) {
	for _, p := range All() {
		s := p.Spec()
		if s.Summary == "" || !strings.Contains(s.Example, s.Name) {
			t.Errorf("%s: summary or example is missing", s.Name)
		}
		for _, a := range s.Params {
			if a.Help == "" {
				t.Errorf("%s: `%s` has no help", s.Name, a.Name)
			}
		}
		for _, f := range s.Result.Fields {
			if f.Help == "" {
				t.Errorf("%s: .%s has no help", s.Name, f.Name)
			}
		}
	}
}

func TestAdvanceTellsAWrapFromANewBeginning(t *testing.T) {
	const top32 = math.MaxUint32
	for name, c := range map[string]struct{ before, now, want []uint64 }{
		"counting on":                  {[]uint64{5, 7}, []uint64{5, 9}, []uint64{0, 2}},
		"a counter of 32 bits wraps":   {[]uint64{top32 - 9, 7}, []uint64{10, 8}, []uint64{20, 1}},
		"a device comes back":          {[]uint64{5000, 70}, []uint64{10, 1}, nil},
		"a busy device comes back":     {[]uint64{3_000_000_000, 1_000_000}, []uint64{10, 1}, nil},
		"one of 64 bits begins anew":   {[]uint64{1 << 40}, []uint64{3}, nil},
		"64 bits wrap never in a life": {[]uint64{math.MaxUint64}, []uint64{0}, nil},
	} {
		got, ok := advance(c.before, c.now)
		if ok != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, c.want)
		}
	}
}

func TestTheFirstSampleCoversAMomentAndTheNextTheTimeBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := uint64(1 << 40) // since boot
		s := counted(func() (counters, error) {
			n += 100
			return counters{"x": {n}}, nil
		}, func(g growth) float64 { return g.rate(0) })
		begun := time.Now()
		if v, err := s(t.Context()); err != nil || v != 1000 || time.Since(begun) != shortest {
			t.Errorf("the first sample: %v/s, %v, after %s", v, err, time.Since(begun))
		}
		time.Sleep(time.Second)
		begun = time.Now()
		if v, err := s(t.Context()); err != nil || v != 100 || time.Since(begun) != 0 {
			t.Errorf("the second: %v/s, %v, after %s", v, err, time.Since(begun))
		}
		if v, err := s(t.Context()); err != nil || v != 1000 || time.Since(begun) != shortest {
			t.Errorf("one at once after it: %v/s, %v, after %s", v, err, time.Since(begun))
		}
		time.Sleep(shortest * 9 / 10)
		begun = time.Now()
		if v, err := s(t.Context()); err != nil || math.Round(v) != 1111 || time.Since(begun) != 0 {
			t.Errorf("one a little early: %v/s, %v, after %s", v, err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), shortest/2)
		defer cancel()
		if _, err := s(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != shortest/2 {
			t.Errorf("cut short: %v, after %s", err, time.Since(begun))
		}
	})
}

func TestAFailedReadingIsNoBeginningOfARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, failing := uint64(0), false
		s := counted(func() (counters, error) {
			if n += 10; failing {
				return nil, errors.New("gone")
			}
			return counters{"x": {n}}, nil
		}, func(g growth) float64 { return g.rate(0) })
		s(t.Context())
		failing = true
		if _, err := s(t.Context()); err == nil {
			t.Error("no error")
		}
		time.Sleep(time.Hour)
		n, failing = 0, false
		if v, err := s(t.Context()); err != nil || v != 100 {
			t.Errorf("%v/s, %v: the time that it was gone counts", v, err)
		}
	})
}

func TestLoad(t *testing.T) {
	f := plant(t)
	f.put("proc/loadavg", "0.68 12.79 0.69 3/112 26876\n")
	v := sample(t, f.opened("host.load", nil))
	near(t, v, "load1", 0.68)
	near(t, v, "load5", 12.79)
	near(t, v, "load15", 0.69)
	near(t, v, "runnable", 2) // without this test
	f.put("proc/loadavg", "0.00 0.00 0.00 0/112 26876\n")
	near(t, sample(t, f.opened("host.load", nil)), "runnable", 0)
}

func TestCPU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		//                        user nice system idle iowait irq softirq steal guest guest_nice
		f.put("proc/stat", "cpu  1000 50 300 8000 100 10 20 5 0 0\ncpu0 600 0 0 400 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nctxt 1\n")
		all, one := f.opened("host.cpu", nil), f.opened("host.cpu", args{"core": value.NumberOf(0)})
		next := func() {
			f.put("proc/stat", "cpu  1010 60 325 8030 110 15 25 10 7 3\ncpu0 630 0 0 470 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nctxt 1\n")
		}
		v := between(t, all, next)
		for field, want := range map[string]float64{"busy": 0.6, "user": 0.2, "system": 0.3, "iowait": 0.1, "softirq": 0.05, "steal": 0.05, "cores": 2} {
			near(t, v, field, want)
		}
		f.put("proc/stat", "cpu  1000 50 300 8000 100 10 20 5 0 0\ncpu0 600 0 0 400 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n")
		v = between(t, one, next)
		near(t, v, "busy", 0.3)
		near(t, v, "cores", 2)
		// iowait may fall, see proc(5): that is no time.
		time.Sleep(time.Second)
		f.put("proc/stat", "cpu  1000 50 300 8000 100 10 20 5 0 0\ncpu0 600 0 0 400 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n")
		v = between(t, f.opened("host.cpu", nil), func() {
			f.put("proc/stat", "cpu  1050 50 300 8050 60 10 20 5 0 0\ncpu0 600 0 0 400 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n")
		})
		near(t, v, "iowait", 0)
		near(t, v, "busy", 0.5)
		_, err := f.open("host.cpu", args{"core": value.NumberOf(2)})
		refused(t, err, "no core 2", "there are 0, 1")
	})
}

const meminfo = `MemTotal:       24684084 kB
MemFree:        23444504 kB
MemAvailable:   24000000 kB
Buffers:            1000 kB
Cached:             2000 kB
SwapTotal:          9000 kB
SwapFree:           5000 kB
SReclaimable:        500 kB
`

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		f.put("proc/meminfo", meminfo)
		f.put("proc/vmstat", "nr_free_pages 1\npswpin 1000000\npswpout 77\npswpout_other 5\n")
		v := between(t, f.opened("host.memory", nil), func() { f.put("proc/vmstat", "pswpin 1000010\npswpout 97\n") })
		page := float64(os.Getpagesize())
		for field, want := range map[string]float64{
			"total": 24684084 * 1024, "available": 24000000 * 1024, "free": 23444504 * 1024, "used": 684084 * 1024, "used_ratio": 684084.0 / 24684084,
			"cached": 3500 * 1024, "swap_used": 4000 * 1024, "swap_in": 100 * page, "swap_out": 200 * page,
		} {
			near(t, v, field, want)
		}
	})
}

func TestDiskOfAPathThatIsNotThere(t *testing.T) {
	f := plant(t)
	f.put("data/mysql/x", "")
	_, err := f.open("host.disk", args{"path": value.StringOf(f.path("data/mysqll"))})
	refused(t, err, "did you mean", "data/mysql`")
	_, err = f.open("host.disk", args{"path": value.StringOf(f.path("daten/mysql"))})
	refused(t, err, "there is no", "no folder "+f.path("daten"))
	var none *target.NoneError
	if !errors.As(err, &none) {
		t.Error("setup could make it, and the plan would not wait")
	}
}

// The columns of /sys/block/vda/stat: reads, merged, sectors, ms; writes, merged, sectors, ms; pending, busy ms, weighted ms.
func TestIO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		f.disk("vda", "100 5 800 50 200 6 1600 70 0 1000 2000 0 0 0 0 0 0\n")
		f.disk("vdb", "100 5 800 50 200 6 1600 70 0 1000 2000 0 0 0 0 0 0\n")
		f.put("sys/block/loop0/stat", "1 1 1 1 1 1 1 1 1 1 1\n") // no hardware behind it
		next := func() { f.put("sys/block/vda/stat", "110 5 880 150 220 6 1680 170 1 1050 2200 0 0 0 0 0 0\n") }
		v := between(t, f.opened("host.io", args{"device": value.StringOf("vda")}), next)
		for field, want := range map[string]float64{
			"reads": 100, "writes": 200, "read_rate": 800 * 512, "write_rate": 800 * 512, "await": 200e6 / 30, "queue": 2, "util": 0.5,
		} {
			near(t, v, field, want)
		}
		f.put("sys/block/vda/stat", "100 5 800 50 200 6 1600 70 0 1000 2000 0 0 0 0 0 0\n")
		v = between(t, f.opened("host.io", nil), func() {
			next()
			f.put("sys/block/vdb/stat", "110 5 800 50 200 6 1600 70 0 1090 2000 0 0 0 0 0 0\n")
			f.put("sys/block/loop0/stat", "100001 1 1 1 1 1 1 1 1 1 1\n")
		})
		near(t, v, "reads", 200)
		near(t, v, "util", 0.9) // of the busiest
		for _, name := range []string{"vda1", f.path("dev/vda1")} {
			near(t, sample(t, f.opened("host.io", args{"device": value.StringOf(name)})), "reads", 0)
		}
	})
}

func TestAwaitOfADiskThatAnswersNothingIsNoData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		f.disk("vda", "100 5 800 50 200 6 1600 70 0 1000 2000\n")
		s := f.opened("host.io", args{"device": value.StringOf("vda")})
		if v := sample(t, s).Get("await"); v.IsMissing() || v.Float() != 0 {
			t.Error("of an idle one:", v)
		}
		time.Sleep(time.Second)
		f.put("sys/block/vda/stat", "100 5 800 50 200 6 1600 70 3 2000 5000\n")
		v := sample(t, s)
		if !v.Get("await").IsMissing() {
			t.Error(v)
		}
		near(t, v, "util", 1)
		near(t, v, "queue", 3)
	})
}

func TestADeviceThatComesBackBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		f.disk("vda", "5000 5 40000 50 9000 6 16000 70 0 1000 2000\n")
		s := f.opened("host.io", args{"device": value.StringOf("vda")})
		near(t, sample(t, s), "reads", 0)
		time.Sleep(time.Second)
		f.put("sys/block/vda/stat", "10 0 80 5 20 0 160 7 0 3 7\n")
		begun := time.Now()
		v := between(t, s, func() { f.put("sys/block/vda/stat", "20 0 160 5 20 0 160 7 0 3 7\n") })
		near(t, v, "reads", 100)
		near(t, v, "writes", 0)
		if took := time.Since(begun); took != shortest {
			t.Error("it took", took)
		}
		// And one that is gone says so, with a hint.
		os.Remove(f.path("sys/class/block/vda"))
		_, err := s.Sample(t.Context())
		refused(t, err, `no block device "vda"`, "`vda1`")
	})
}

func TestMillisecondsOfADiskWrap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		f.disk("vda", "1000 0 8000 4294967290 0 0 0 0 0 4294967200 4294967200\n")
		v := between(t, f.opened("host.io", args{"device": value.StringOf("vda")}), func() {
			f.put("sys/block/vda/stat", "1002 0 8016 14 0 0 0 0 0 4294967250 54\n")
		})
		near(t, v, "await", 10e6)
		near(t, v, "util", 0.5)
		near(t, v, "queue", 1.5)
	})
}

func dev(rows ...string) string {
	return "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n" + strings.Join(rows, "\n") + "\n"
}

func TestNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		f.put("proc/1/net/dev", dev("lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0", "eth0: 4294967000 5000 1 2 0 0 0 0 7000 80 3 4 0 0 0 0"))
		next := func() {
			// The driver counts bytes in 32 bits. eth1 is new: what it counted before it was seen is no rate.
			f.put("proc/1/net/dev", dev("lo: 99999 9999 0 0 0 0 0 0 9 9 0 0 0 0 0 0", "eth0: 704 5010 2 4 0 0 0 0 7500 85 6 8 0 0 0 0", "eth1: 777777 7777 0 0 0 0 0 0 0 0 0 0 0 0 0 0"))
		}
		for _, in := range []args{{"interface": value.StringOf("eth0")}, nil} {
			f.put("proc/1/net/dev", dev("lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0", "eth0: 4294967000 5000 1 2 0 0 0 0 7000 80 3 4 0 0 0 0"))
			v := between(t, f.opened("host.network", in), next)
			for field, want := range map[string]float64{
				"rx": 10000, "tx": 5000, "rx_packets": 100, "tx_packets": 50, "rx_errors": 10, "tx_errors": 30, "rx_drops": 20, "tx_drops": 40,
			} {
				near(t, v, field, want)
			}
		}
		_, err := f.open("host.network", args{"interface": value.StringOf("eht0")})
		refused(t, err, `no network interface "eht0"`, "did you mean `eth0`?")
		f.put("proc/1/net/dev", dev("lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0"))
		near(t, sample(t, f.opened("host.network", nil)), "rx", 0) // a machine without a network sends nothing
	})
}

func TestTCP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		snmp := func(numbers string) string {
			return "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\nTcp: 1 200 120000 -1 " + numbers + "\n"
		}
		f.put("proc/1/net/snmp", snmp("1000 2000 5 30 4 1 1 70 9 5 0"))
		v := between(t, f.opened("host.tcp", nil), func() { f.put("proc/1/net/snmp", snmp("1001 2002 5 33 6 1 1 74 14 5 0")) })
		for field, want := range map[string]float64{"active": 10, "passive": 20, "resets": 30, "retransmits": 40, "in_errors": 50, "established": 6} {
			near(t, v, field, want)
		}
	})
}

func TestPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		f.put("proc/pressure/io", "some avg10=25.83 avg60=13.14 avg300=5.44 total=1000\nfull avg10=2.50 avg60=1.25 avg300=0.00 total=500\n")
		v := between(t, f.opened("host.pressure", args{"resource": value.StringOf("io")}), func() {
			f.put("proc/pressure/io", "some avg10=25.83 avg60=13.14 avg300=5.44 total=51000\nfull avg10=2.50 avg60=1.25 avg300=0.00 total=25500\n")
		})
		for field, want := range map[string]float64{"some": 0.5, "full": 0.25, "some10": 0.2583, "some60": 0.1314, "full10": 0.025, "full60": 0.0125} {
			near(t, v, field, want)
		}
		f.put("proc/pressure/cpu", "some avg10=25.83 avg60=13.14 avg300=5.44 total=1000\n") // before Linux 5.13
		v = sample(t, f.opened("host.pressure", args{"resource": value.StringOf("cpu")}))
		if near(t, v, "some", 0); !v.Get("full").IsMissing() || !v.Get("full10").IsMissing() {
			t.Error(v)
		}
		_, err := f.open("host.pressure", args{"resource": value.StringOf("memory")})
		refused(t, err, "does not measure pressure", "psi=1")
	})
}

func TestTopIsOrderedAndForgetsWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := plant(t)
		process := func(pid int, name string, ticks, start, pages int, bytes int) {
			dir := "proc/" + strconv.Itoa(pid)
			f.put(dir+"/stat", strconv.Itoa(pid)+" ("+name+") S 1 1 1 0 -1 0 0 0 0 0 "+strconv.Itoa(ticks)+" 0 0 0 20 0 1 0 "+strconv.Itoa(start)+" 1000000 "+strconv.Itoa(pages)+" 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n")
			f.put(dir+"/io", "rchar: 1\nwchar: 1\nsyscr: 1\nsyscw: 1\nread_bytes: "+strconv.Itoa(bytes)+"\nwrite_bytes: 0\ncancelled_write_bytes: 0\n")
		}
		os.RemoveAll(f.path("proc/1"))
		ask := func(by string) value.Value {
			process(11, "old (and) loud", 100000, 5, 10, 0)
			process(12, "busy", 0, 6, 20, 0)
			process(13, "writer", 0, 7, 30, 1000)
			process(14, "other", 9000, 8, 1, 0)
			s := f.opened("host.top", args{"by": value.StringOf(by), "count": value.NumberOf(2)})
			return between(t, s, func() {
				process(12, "busy", 5, 6, 20, 0)
				process(13, "writer", 2, 7, 30, 11000)
				process(14, "reborn", 3, 99, 1, 0) // another process with the same pid
			}).Get("processes")
		}
		names := func(v value.Value) string {
			var out []string
			for _, p := range v.Items() {
				out = append(out, p.Get("name").Text())
			}
			return strings.Join(out, " ")
		}
		for by, want := range map[string]string{"cpu": "busy reborn", "memory": "writer busy", "io": "writer old (and) loud"} {
			if got := names(ask(by)); got != want {
				t.Errorf("by %s: %s, want %s", by, got, want)
			}
		}
		first := ask("cpu").Items()[0]
		near(t, first, "cpu", 0.5)
		near(t, first, "pid", 12)
		near(t, first, "rss", 20*float64(os.Getpagesize()))
		near(t, ask("io").Items()[0], "io", 100000)
	})
}

func TestTopFindsAProcessThatIsBusy(t *testing.T) {
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	s, err := openIn(Root{"/proc", "/sys", "/dev"}, "host.top", args{"by": value.StringOf("cpu"), "count": value.NumberOf(100)})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 { // it may have to wait for a core
		for _, p := range sample(t, s).Get("processes").Items() {
			if int(p.Get("pid").Float()) == cmd.Process.Pid && p.Get("cpu").Float() > 0.01 && p.Get("rss").Float() > 100000 {
				return
			}
		}
	}
	t.Error("it is not among the first 100")
}

func TestAnEmptyProcIsNotTakenForAKernelWithoutPressure(t *testing.T) {
	f := plant(t)
	os.Remove(f.path("proc/self"))
	for probe, given := range map[string]args{"host.pressure": {"resource": value.StringOf("io")}, "host.top": {"by": value.StringOf("cpu")}} {
		_, err := f.open(probe, given)
		refused(t, err, "is not there", "mount -t proc proc")
	}
}

func TestTrafficFromBeforeAProcessCouldBeReadIsNotNew(t *testing.T) {
	hidden, shown, born := being{pid: 1}, being{pid: 2}, being{pid: 3}
	before := census{hidden: {}, shown: {io: 100, seen: true}}
	grown, _ := before.until(census{hidden: {io: 1e9, seen: true}, shown: {io: 150, seen: true}, born: {io: 7, seen: true}})
	for who, want := range map[being]usage{hidden: {io: 1e9}, shown: {io: 50, seen: true}, born: {io: 7, seen: true}} {
		if grown[who].seen != want.seen || want.seen && grown[who].io != want.io {
			t.Errorf("process %d: %+v, want %+v", who.pid, grown[who], want)
		}
	}
}

func TestWhatTheKernelShowsInAnotherFormIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ probe, file, text, want string }{
		"load, cut":            {"host.load", "loadavg", "0.68 12.79 0.69", "proc/loadavg has another form"},
		"load, words":          {"host.load", "loadavg", "a b c 1/2 3", "proc/loadavg has another form"},
		"pressure, empty":      {"host.pressure", "pressure/io", "", "proc/pressure/io has another form"},
		"pressure, words":      {"host.pressure", "pressure/io", "some avg10=a avg60=0 avg300=0 total=1\n", "proc/pressure/io has another form"},
		"tcp, no counters":     {"host.tcp", "1/net/snmp", "Udp: a\nUdp: 1\n", "has no counters of TCP"},
		"tcp, one is missing":  {"host.tcp", "1/net/snmp", "Tcp: ActiveOpens\nTcp: 1\n", "has no counter PassiveOpens of TCP"},
		"tcp, fewer than said": {"host.tcp", "1/net/snmp", "Tcp: ActiveOpens PassiveOpens RetransSegs EstabResets InErrs CurrEstab\nTcp: 1\n", "snmp has another form"},
		"tcp, words":           {"host.tcp", "1/net/snmp", "Tcp: ActiveOpens PassiveOpens RetransSegs EstabResets InErrs CurrEstab\nTcp: 1 2 3 4 5 a\n", "snmp has another form"},
		"network, cut":         {"host.network", "1/net/dev", "titles\n eth0: 1 2 3\n", "proc/net/dev has another form"},
		"network, words":       {"host.network", "1/net/dev", "eth0: a 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n", "proc/net/dev has another form"},
	} {
		t.Run(name, func(t *testing.T) {
			f := plant(t)
			f.put("proc/"+c.file, c.text)
			given := args{}
			if c.probe == "host.pressure" {
				given["resource"] = value.StringOf("io")
			}
			s, err := f.open(c.probe, given)
			if err == nil {
				defer s.Close()
				_, err = s.Sample(t.Context())
			}
			refused(t, err, c.want)
		})
	}
}
