package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

var smallFile = strings.Repeat("FizzBuzz\n", 64)

// serveFile is the server where nginx is missing.
func serveFile([]string) error {
	return serve(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, smallFile) })
}

// delays are a distribution of which every percentile is known: of 100 requests so many wait so long. A percentile that is
// asked for lies in the middle of a step, so a few requests more or less do not move it.
var delays = []struct {
	share  int
	length time.Duration
}{
	{70, 40 * time.Millisecond},
	{22, 100 * time.Millisecond},
	{5, 200 * time.Millisecond},
	{3, 400 * time.Millisecond},
}

func serveDelays([]string) error {
	var n atomic.Int64
	return serve(func(http.ResponseWriter, *http.Request) {
		place := int(n.Add(1) * 37 % 100) // every place once in 100 requests, in no order
		for _, d := range delays {
			if place -= d.share; place < 0 {
				t := time.NewTimer(d.length)
				<-t.C
				return
			}
		}
	})
}

// serve listens on a free port, prints it, and serves until it is killed.
func serve(h http.HandlerFunc) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, h)
}
