package hold

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// inHelper is set in the environment of a helper, so that a program that forgot to serve cannot start helpers that start
// helpers. What a helper starts does not get it.
const inHelper = "CHAOS_HOLD_HELPER"

// Comm is what ps(1) shows a helper as.
const Comm = "chaos-hold"

// Serve is the helper: what `chaos hold ARGS` runs. It returns the exit code when the runner has closed its pipe, or asked
// for the end, and nothing is left.
func Serve(args []string) int {
	if len(args) != 1 || args[0] != "supervise" && args[0] != "trace" || !isPipe(requestFd) || !isPipe(reportFd) {
		fmt.Fprintln(os.Stderr, "chaos hold is what a run starts to own its processes; it is of no use by hand")
		return 2
	}
	// Inherited descriptors lack the flag; a child that kept them would hide our end from the runner.
	unix.CloseOnExec(requestFd)
	unix.CloseOnExec(reportFd)
	os.Unsetenv(inHelper)
	in, out := os.NewFile(requestFd, "requests"), os.NewFile(reportFd, "reports")

	// Only the end of the pipe ends a helper. Handled and dropped instead of ignored: a child inherits what is ignored.
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGUSR1, unix.SIGUSR2)

	// Pdeathsig follows the thread that forked, and ptrace belongs to the thread that attached: this one, to the end.
	runtime.LockOSThread()
	// Else `ps` and `top` would show "exe", the link that it was started by.
	os.WriteFile("/proc/self/comm", []byte(Comm), 0)
	// A helper's folder must not keep a file system busy that the run unmounts.
	os.Chdir("/")

	s := newSender(out)
	asked, gone := requests(in)
	if args[0] == "trace" {
		s.send(report{Event: eventReady})
		newTracer(s, gone).serve(asked)
	} else {
		v := newSupervisor(s)
		s.send(report{Event: eventReady, Cage: v.cage.Dir})
		v.serve(asked, gone)
	}
	s.close()
	return 0
}

// MaybeServe serves and exits if the program was started as a helper. Every test package that uses a Client calls it first
// in its TestMain, since there the program is the test's.
func MaybeServe() {
	if len(os.Args) == 3 && os.Args[1] == "hold" && os.Getenv(inHelper) != "" {
		os.Exit(Serve(os.Args[2:]))
	}
}

func isPipe(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO
}
