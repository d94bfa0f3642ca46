package main

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"chaos/lang/value"
	"chaos/probes"
	"chaos/probes/http"
	"chaos/runtime/env"
)

const (
	loadRuns    = 5
	loadClients = 32
	loadLength  = 2 * time.Second
)

// throughputRow compares the closed model with hey and ab: the same server process, the same number of clients, in turns.
func throughputRow(b *bench) ([]line, error) {
	url, server, c, err := b.fileServer()
	if err != nil {
		return nil, err
	}
	defer c.stop()
	var lines []line
	for _, peer := range []struct {
		tool, install string
		target        float64
		args          func() []string
	}{
		{"hey", "apt-get install hey", 1, func() []string {
			return []string{"-z", loadLength.String(), "-c", strconv.Itoa(loadClients), url}
		}},
		{"ab -k", "apt-get install apache2-utils", 0.8, func() []string {
			return []string{"-k", "-q", "-r", "-t", strconv.Itoa(int(loadLength.Seconds())), "-n", "100000000", "-c", strconv.Itoa(loadClients), url}
		}},
	} {
		what := fmt.Sprintf("http.load, %d clients, %s, requests/s", loadClients, server)
		name, _, _ := strings.Cut(peer.tool, " ")
		tool, err := exec.LookPath(name)
		if err != nil {
			lines = append(lines, line{what: what, note: fmt.Sprintf("%s is not installed (%s)", name, peer.install)})
			continue
		}
		runs, err := alternate(b, loadRuns,
			func() (float64, error) { return b.ownLoad(url) },
			func() (float64, error) { return b.toolLoad(tool, peer.args()) })
		if err != nil {
			return lines, err
		}
		ours, theirs := median(runs[0]), median(runs[1])
		lines = append(lines, line{
			what: what, ours: fmt.Sprintf("%.0f", ours), peer: fmt.Sprintf("%.0f %s", theirs, peer.tool), ratio: ratio(ours, theirs),
			target: fmt.Sprintf("at least %.1f times", peer.target), ok: ours >= peer.target*theirs,
		})
	}
	return lines, nil
}

// ownLoad runs the closed model in a process of its own, as the tools have one.
func (b *bench) ownLoad(url string) (float64, error) {
	c, text, err := b.self("own-load", url, strconv.Itoa(loadClients), loadLength.String())
	if err != nil {
		return 0, err
	}
	defer c.stop()
	return strconv.ParseFloat(text, 64)
}

func ownLoad(args []string) error {
	clients, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	length, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	v, err := loadFor(context.Background(), length, map[string]value.Value{"url": value.StringOf(args[0]), "concurrency": value.NumberOf(float64(clients))})
	if err != nil {
		return err
	}
	if n := v.Get("errors").Float(); n > 0 {
		return fmt.Errorf("%v requests failed: %s", n, v.Get("failures"))
	}
	fmt.Println(v.Get("rps").Float())
	return nil
}

// loadFor runs http.load for a while and returns its one window.
func loadFor(ctx context.Context, length time.Duration, args map[string]value.Value) (value.Value, error) {
	p, ok := probes.NewRegistry(http.All()...).Probe("http.load")
	if !ok {
		return value.Value{}, fmt.Errorf("there is no http.load")
	}
	o, err := p.Open(ctx, env.Env{}, args)
	if err != nil {
		return value.Value{}, err
	}
	defer o.Close()
	s := o.(probes.Streamer)
	if err := s.Start(ctx); err != nil {
		return value.Value{}, err
	}
	end := time.NewTimer(length)
	defer end.Stop()
	select {
	case <-end.C:
	case <-ctx.Done():
		return value.Value{}, ctx.Err()
	}
	_, m := s.Next()
	return m.Value(), nil
}

// rate is the line that both ab and hey print.
var rate = regexp.MustCompile(`Requests(?: per second|/sec):\s+([0-9.]+)`)

func (b *bench) toolLoad(tool string, args []string) (float64, error) {
	out, err := exec.CommandContext(b.ctx, tool, args...).CombinedOutput()
	found := rate.FindSubmatch(out)
	if err != nil || found == nil {
		return 0, fmt.Errorf("%s: %v: %s", tool, err, strings.TrimSpace(string(out)))
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// percentilesRow compares http.load's percentiles with what the server's delays are known to be.
func percentilesRow(b *bench) ([]line, error) {
	c, address, err := b.self("serve-delays")
	if err != nil {
		return nil, err
	}
	defer c.stop()
	fields := []string{"p50", "p90", "p95", "p99"}
	measured := map[string][]time.Duration{}
	for range 3 {
		v, err := loadFor(b.ctx, 3*time.Second, map[string]value.Value{"url": value.StringOf("http://" + address + "/"), "rate": value.RateOf(200)})
		if err != nil {
			return nil, err
		}
		for _, f := range fields {
			measured[f] = append(measured[f], v.Get(f).Duration())
		}
	}
	var lines []line
	for i, f := range fields {
		got, want := median(measured[f]), delays[i].length
		off := math.Abs(float64(got-want)) / float64(want)
		lines = append(lines, line{
			what: "http.load " + f + " of a known distribution", ours: ms(got), peer: ms(want) + " true", ratio: ratio(float64(got), float64(want)),
			target: "within 5%", ok: off <= 0.05,
		})
	}
	return lines, nil
}
