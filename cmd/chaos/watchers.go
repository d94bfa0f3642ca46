package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"chaos/runtime/annotate"
	"chaos/runtime/event"
	"chaos/runtime/metrics"
	"chaos/runtime/netfail"
	"chaos/runtime/secret"

	"github.com/spf13/cobra"
)

// grafanaToken is the secret that opens a Grafana. It is found where those of a script are.
const grafanaToken = "GRAFANA_TOKEN"

// watcherFlags let other programs see a run while it runs.
type watcherFlags struct {
	metrics  string
	hold     time.Duration
	annotate string
}

func (f *watcherFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.metrics, "metrics", "", "show the run to Prometheus at http://`ADDR`/metrics, such as 127.0.0.1:9464; :9464 is loopback too")
	c.Flags().DurationVar(&f.hold, "metrics-hold", 0, "keep the metrics up for so long after the end, so that the verdict is scraped")
	c.Flags().StringVar(&f.annotate, "annotate", "", "mark experiments and faults on the dashboards of the Grafana at `URL`; its token is the secret "+grafanaToken)
}

// watchers are what was started for them.
type watchers struct {
	sinks  []event.Sink
	ends   []func()
	metric *metrics.Server
	hold   time.Duration
}

// open starts what was asked for, so that an address that cannot be used is known before anything runs.
func (f *watcherFlags) open(secrets func(string) (string, bool)) (*watchers, error) {
	w := &watchers{hold: f.hold}
	switch {
	case f.hold < 0:
		return nil, errors.New("--metrics-hold: write a time such as 15s")
	case f.hold > 0 && f.metrics == "":
		return nil, errors.New("--metrics-hold needs --metrics")
	}
	if f.annotate != "" {
		token, _ := secrets(grafanaToken)
		g, err := annotate.New(f.annotate, token)
		if err != nil {
			return nil, fmt.Errorf("--annotate: %w", err)
		}
		w.sinks = append(w.sinks, g)
		w.ends = append(w.ends, func() {
			if err := g.Close(); err != nil {
				text := err.Error()
				if hide := secret.Redactor(map[string]string{grafanaToken: token}); hide != nil {
					text = hide(text)
				}
				fmt.Fprintf(os.Stderr, "chaos: --annotate: %s\n", text)
			}
		})
	}
	if f.metrics == "" {
		return w, nil
	}
	m := metrics.New(version)
	server, err := metrics.Serve(f.metrics, m)
	if err != nil {
		w.end(false)
		return nil, fmt.Errorf("--metrics: %s", notListening(f.metrics, err))
	}
	fmt.Fprintf(os.Stderr, "metrics at http://%s/metrics\n", server.Addr)
	w.sinks, w.metric = append(w.sinks, m), server
	return w, nil
}

// end waits until all is told, and says what could not be: no trouble of those who watch changes how a run ends.
func (w *watchers) end(hold bool) {
	for _, e := range w.ends {
		e()
	}
	if w.metric == nil {
		return
	}
	if hold {
		linger(w.hold)
	}
	w.metric.Close()
}

// linger waits, or until somebody has had enough.
func linger(d time.Duration) {
	if d <= 0 {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	fmt.Fprintf(os.Stderr, "metrics stay up for %s; Ctrl-C ends that\n", d)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func notListening(address string, err error) string {
	var bad *net.AddrError
	switch {
	case errors.As(err, &bad):
		return fmt.Sprintf("%q is no address to listen at; write HOST:PORT, or :PORT for loopback", address)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Sprintf("somebody listens at %s already; take another port, or 0 for any", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("%s is no address of this machine", address)
	case errors.Is(err, syscall.EACCES):
		return fmt.Sprintf("this user may not listen at %s; take a port above 1023", address)
	}
	return netfail.Text(err, address)
}
