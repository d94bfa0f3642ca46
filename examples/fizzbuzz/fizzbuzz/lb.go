package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"
)

// A balancer spreads requests over its workers in turn. Its health checks are passive: a worker that refuses, resets or
// does not answer in time is down for failTimeout, and the request goes to the next one. Customers see a failure only
// when every worker has failed.
type balancer struct {
	transport   http.RoundTripper
	failTimeout time.Duration

	mu      sync.Mutex
	workers []*worker
	next    int
}

type worker struct {
	address   string
	downUntil time.Time // guarded by balancer.mu
}

func newBalancer(addresses []string) *balancer {
	b := &balancer{
		failTimeout: 500 * time.Millisecond,
		transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 500 * time.Millisecond}).DialContext,
			ResponseHeaderTimeout: time.Second, // a worker that hangs is as good as dead
			MaxIdleConnsPerHost:   64,
		},
	}
	for _, a := range addresses {
		b.workers = append(b.workers, &worker{address: a})
	}
	return b
}

func (b *balancer) handler() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http" // the host is chosen by RoundTrip
			r.SetXForwarded()
		},
		Transport: b,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			log.Printf("%s %s: %v", r.Method, r.URL.Path, err)
			http.Error(w, "no worker answered", http.StatusBadGateway)
		},
	}
}

// RoundTrip tries the workers one after the other. Only a request that may be repeated is given to a second one.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var errs []error
	for _, w := range b.order() {
		attempt := r.Clone(r.Context())
		attempt.URL.Host = w.address
		resp, err := b.transport.RoundTrip(attempt)
		if err == nil {
			return resp, nil
		}
		if r.Context().Err() != nil { // the customer has gone, which is not the worker's fault
			return nil, err
		}
		b.markDown(w, err)
		errs = append(errs, fmt.Errorf("worker %s: %w", w.address, err))
		if !repeatable(r) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func repeatable(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.Body == nil || r.Body == http.NoBody)
}

// order is in which order a request tries the workers: in turn, those that are down last. They are tried all the same,
// since a refusal by the only worker left costs less than a 502 for nothing.
func (b *balancer) order() []*worker {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var up, down []*worker
	for i := range b.workers {
		w := b.workers[(b.next+i)%len(b.workers)]
		if now.Before(w.downUntil) {
			down = append(down, w)
		} else {
			up = append(up, w)
		}
	}
	b.next = (b.next + 1) % len(b.workers)
	return append(up, down...)
}

func (b *balancer) markDown(w *worker, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !now.Before(w.downUntil) {
		log.Printf("worker %s is down for %v: %v", w.address, b.failTimeout, err)
	}
	w.downUntil = now.Add(b.failTimeout)
}
