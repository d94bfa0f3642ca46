// Fizzbuzz is the system under test of the game day: an API worker and a load balancer in one small program.
//
//	fizzbuzz api --port 8001
//	fizzbuzz lb --port 8003 --worker 127.0.0.1:8001 --worker 127.0.0.1:8002
//
// Both listen on loopback only and die at once on SIGTERM, as an experiment that kills them wants it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

const usage = `usage: fizzbuzz api --port PORT
       fizzbuzz lb --port PORT --worker HOST:PORT [--worker HOST:PORT …]
`

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	log.SetPrefix("fizzbuzz: ")
	err := run(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return
	}
	log.Fatal(err)
}

// run serves until the process is killed; it returns only with an error.
func run(args []string) error {
	if len(args) == 0 {
		return errors.New("api or lb?\n" + usage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard) // main prints what is wrong, once
	port := flags.Int("port", 0, "where to listen on 127.0.0.1")

	switch args[0] {
	case "api":
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		return serve(*port, api())
	case "lb":
		var workers []string
		flags.Func("worker", "`address` of a worker; repeat it", func(address string) error {
			if _, _, err := net.SplitHostPort(address); err != nil {
				return err
			}
			workers = append(workers, address)
			return nil
		})
		if err := parse(flags, args[1:]); err != nil {
			return err
		}
		if len(workers) == 0 {
			return errors.New("lb needs at least one --worker")
		}
		return serve(*port, observed(newBalancer(workers).handler()))
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		return flag.ErrHelp
	}
	return fmt.Errorf("unknown command %q\n%s", args[0], usage)
}

func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return nil
}

func serve(port int, h http.Handler) error {
	if port == 0 {
		return errors.New("--port is missing")
	}
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	log.Printf("pid %d listens on http://%s", os.Getpid(), l.Addr())
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(l)
}
