package metrics

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Server answers GET /metrics, in Prometheus' text format or in OpenMetrics, as the scraper asks.
type Server struct {
	Addr   string // where it listens, with the port that the kernel chose for 0
	server *http.Server
	ended  chan struct{}
}

// Serve listens at once, so that an address that is taken is known before a run begins. The address is host:port; without
// a host it is loopback, as what a run does is nobody else's business unless somebody says so.
func Serve(address string, m *Metrics) (*Server, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "127.0.0.1"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	mux.Handle("GET /{$}", http.RedirectHandler("/metrics", http.StatusFound))
	s := &Server{Addr: l.Addr().String(), ended: make(chan struct{}), server: &http.Server{
		Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
	}}
	go func() {
		defer close(s.ended)
		s.server.Serve(l)
	}()
	return s, nil
}

// Close lets the scrape that is under way end, for a second.
func (s *Server) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
	<-s.ended
}
