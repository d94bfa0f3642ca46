package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"chaos/actions"
	"chaos/lang/spec"
	"chaos/probes/bpf"
	"chaos/runtime/cgroup"
	"chaos/runtime/command"
	"chaos/runtime/recovery"
	"chaos/runtime/stress"
	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// status is how much of something is here; more is better.
type status int

const (
	no status = iota
	partly
	yes
)

// MarshalJSON writes the word.
func (s status) MarshalJSON() ([]byte, error) {
	return json.Marshal([]string{"no", "partly", "yes"}[s])
}

// finding is what was seen of a need.
type finding struct {
	doctorNeed
	lifetime    string // the class that results for want of it
	alternative bool   // one of several of which one is enough
}

// machine is what this process may do here, and where it is.
type machine struct {
	uid    int
	kernel string
	caps   uint64
	yama   int // kernel.yama.ptrace_scope, 0 without yama
	runs   string
	noRuns error
}

// lookAround reads it. Nothing is assumed to be there, not even /proc.
func lookAround(runs string) machine {
	m := machine{uid: os.Geteuid(), kernel: "Linux", runs: runs}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.kernel = "Linux " + unix.ByteSliceToString(uts.Release[:])
	}
	// The system call says the same as CapEff of /proc/self/status, also where there is no /proc. See capget(2).
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) == nil {
		m.caps = uint64(data[1].Effective)<<32 | uint64(data[0].Effective)
	}
	if text, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope"); err == nil {
		m.yama, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if m.runs == "" {
		m.runs, m.noRuns = recovery.DefaultDir()
	}
	return m
}

// user is its name. Not asked for in a plan: with cgo a look-up connects to the name service.
func (m machine) user() string {
	if u, err := user.LookupId(strconv.Itoa(m.uid)); err == nil && u.Username != "" {
		return u.Username
	}
	if m.uid == 0 {
		return "root"
	}
	return "uid " + strconv.Itoa(m.uid)
}

// basics is what every run needs.
func (m machine) basics() []doctorNeed {
	return []doctorNeed{m.kernelFeature("/proc", "").doctorNeed, m.kernelFeature("pidfd", "").doctorNeed, m.runsFolder()}
}

// runsFolder tells whether runs can be recorded. It is made by the first of them, so its nearest parent counts.
func (m machine) runsFolder() doctorNeed {
	n := doctorNeed{Kind: "folder", Name: m.runs, Status: yes, Detail: "runs are recorded here"}
	if m.noRuns != nil {
		return doctorNeed{Kind: "folder", Name: "for the runs", Status: no, Detail: m.noRuns.Error()}
	}
	for dir := m.runs; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, unix.ENOENT) && dir != filepath.Dir(dir) {
			continue
		}
		why := ""
		switch {
		case errors.Is(err, unix.EACCES):
			why = "this user may not look into " + filepath.Dir(dir)
		case err != nil || !info.IsDir():
			why = dir + " is no folder"
		case unix.Access(dir, unix.W_OK) != nil:
			why = "this user may not write into " + dir
		}
		if why != "" {
			n.Status, n.Detail, n.How = no, why, "choose another with --runs DIR, or with XDG_STATE_HOME"
		}
		return n
	}
}

// need looks for one thing that a spec asks for.
func (m machine) need(n spec.Need) finding {
	switch n.Kind {
	case "tool":
		return finding{doctorNeed: m.tool("", n.Name)}
	case "privilege":
		return m.privilege(n)
	case "kernel":
		return m.kernelFeature(n.Name, n.Install)
	}
	return finding{doctorNeed: doctorNeed{Kind: n.Kind, Name: n.Name, Status: partly, Detail: "chaos cannot look for it here", How: n.Install}}
}

func (m machine) tool(dir, name string) doctorNeed {
	n := doctorNeed{Kind: "tool", Name: name, Status: yes}
	var missing *command.MissingError
	if dir == "" {
		if _, err := exec.LookPath(name); err != nil {
			n.Status, n.How = no, "install it, or add its folder to the PATH"
		}
		return n
	}
	if _, err := command.Find(dir, name); errors.As(err, &missing) {
		n.Status, n.Detail, n.How = no, "it "+missing.Why, missing.Remedy()
		if n.How == "it "+missing.Why || strings.HasPrefix(n.How, n.Detail) {
			n.Detail = ""
		}
	}
	return n
}

// capability is what one of capabilities(7) is good for in chaos.
type capability struct {
	bit     int
	without string // what works nevertheless; "" for nothing
	adds    string
}

var capabilities = map[string]capability{
	"CAP_SYS_PTRACE":       {unix.CAP_SYS_PTRACE, "processes of this user only", "processes of every user"},
	"CAP_SYS_NICE":         {unix.CAP_SYS_NICE, "", "every process, and the way back to a lower value"},
	"CAP_KILL":             {unix.CAP_KILL, "processes of this user only", "processes of every user"},
	"CAP_NET_BIND_SERVICE": {unix.CAP_NET_BIND_SERVICE, "ports from %d only", "all ports"},
	"CAP_NET_ADMIN":        {unix.CAP_NET_ADMIN, "", "the network of this machine"},
	"CAP_NET_RAW":          {unix.CAP_NET_RAW, "", "raw packets"},
	"CAP_SYS_ADMIN":        {unix.CAP_SYS_ADMIN, "", "namespaces and mounts"},
	"CAP_SYS_RESOURCE":     {unix.CAP_SYS_RESOURCE, "", "limits above the present ones"},
	"CAP_SYS_TIME":         {unix.CAP_SYS_TIME, "", "the clock"},
	"CAP_DAC_OVERRIDE":     {unix.CAP_DAC_OVERRIDE, "what this user may write only", "files and folders of every user"},
	"CAP_CHOWN":            {unix.CAP_CHOWN, "files of this user only", "files of every user"},
	"CAP_BPF":              {unix.CAP_BPF, "", allOfIt},
	"CAP_PERFMON":          {unix.CAP_PERFMON, "", allOfIt},
}

// allOfIt is what root adds to what is for root only.
const allOfIt = "all of it"

func (m machine) privilege(n spec.Need) finding {
	f := finding{doctorNeed: doctorNeed{Kind: n.Kind, Name: n.Name, Status: yes}}
	c, isCap := capabilities[n.Name]
	switch {
	case n.Name == "root":
		if m.uid != 0 {
			f.Status, f.How, f.RootAdds = no, n.Install, allOfIt
		}
		return f
	case n.Name == "terminal":
		if newAsker(false) == nil {
			f.Status, f.Detail, f.How = partly, "there is nobody to ask", n.Install
		}
		return f
	case !isCap:
		f.Status, f.Detail, f.How = partly, "chaos cannot look for it here", n.Install
		return f
	}
	if m.caps&(1<<c.bit) != 0 && (n.Name != "CAP_SYS_PTRACE" || m.yama < 3) {
		return f
	}
	f.Status, f.Detail, f.How = no, c.without, n.Install
	if c.without != "" {
		f.Status = partly
	}
	switch n.Name {
	case "CAP_SYS_PTRACE":
		if m.yama >= 1 { // see ptrace_scope in ptrace(2)
			f.Status, f.Detail = no, fmt.Sprintf("kernel.yama.ptrace_scope is %d", m.yama)
		}
		if m.yama == 3 {
			f.How = "boot with another kernel.yama.ptrace_scope: 3 stays until then"
			return f
		}
	case "CAP_NET_BIND_SERVICE":
		first := firstPort()
		if f.Detail = fmt.Sprintf(c.without, first); first == 0 {
			f.Status, f.Detail, f.How = yes, "", ""
			return f
		}
	case "CAP_SYS_NICE":
		// RLIMIT_NICE counts from 20 for a nice value of 0 up to 40 for -20; see getrlimit(2).
		var limit unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NICE, &limit) == nil && limit.Cur >= 20 {
			f.Status, f.Detail = partly, fmt.Sprintf("processes of this user, down to a nice value of %d", 20-int64(min(limit.Cur, 40)))
		}
	}
	if m.uid == 0 {
		f.How = "this root lacks it: give it to the container, as with --cap-add " + strings.TrimPrefix(n.Name, "CAP_")
	} else {
		f.RootAdds = c.adds
	}
	return f
}

// firstPort is the first that needs no privilege; see ip_unprivileged_port_start in ip(7).
func firstPort() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	if n, perr := strconv.Atoi(strings.TrimSpace(string(data))); err == nil && perr == nil {
		return n
	}
	return 1024
}

func (m machine) kernelFeature(name, install string) finding {
	f := finding{doctorNeed: doctorNeed{Kind: "kernel", Name: name, Status: yes}}
	miss := func(detail, how string) finding {
		f.Status, f.Detail, f.How = no, detail, how
		return f
	}
	if controller, ok := strings.CutPrefix(name, "cgroup "); ok {
		f.alternative = true
		layout, err := cgroup.Look()
		var missing *cgroup.MissingError
		if err == nil {
			_, err = layout.Find(controller)
		}
		switch {
		case errors.As(err, &missing):
			if m.uid != 0 && missing.Help == "run as root" {
				f.RootAdds = "limits of " + controller
			}
			return miss("it "+missing.Why, missing.Help)
		case err != nil:
			return miss("what is mounted cannot be read", "mount /proc: mount -t proc proc /proc")
		}
		return f
	}
	if refused, ok := bpf.Refused(name); ok {
		var why *bpf.RefusedError
		switch {
		case errors.As(refused, &why) && why.Privilege:
			return miss("nobody else can try it", "")
		case errors.As(refused, &why):
			return miss(why.Why, why.Help)
		case refused != nil:
			return miss(refused.Error(), install)
		}
		return f
	}
	switch name {
	case "/proc":
		if _, err := os.Stat("/proc/self/stat"); err != nil {
			return miss("it is not mounted, so no process can be found", "mount it: mount -t proc proc /proc")
		}
	case "pidfd":
		fd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			return miss(err.Error(), "run Linux 5.3 or newer, or a container whose seccomp profile lets pidfd_open pass")
		}
		unix.Close(fd)
	case "O_TMPFILE":
		dir := os.TempDir()
		_, err := os.Stat(dir)
		ok := false
		if err == nil {
			ok, err = stress.Unnamed(dir)
		}
		switch {
		case err != nil:
			f.Status, f.Detail = partly, "nothing can be made in "+dir+" to find out; each file system is asked again by the plan"
		case !ok:
			f.lifetime = string(actions.Guardian)
			f.Status, f.Detail, f.How = partly, "not in "+dir+"; each file system is asked again by the plan", install
		}
	case "ptrace":
		why := target.PtraceRefused(os.Getpid())
		if m.yama == 3 || m.yama >= 1 && m.caps&(1<<unix.CAP_SYS_PTRACE) == 0 {
			why = fmt.Sprintf("kernel.yama.ptrace_scope is %d", m.yama)
		}
		if why != "" {
			f.lifetime = string(actions.Guardian)
			f.Status, f.Detail, f.How = partly, why, install
		}
	case "/dev/kmsg":
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		switch {
		case errors.Is(err, unix.ENOENT):
			return miss("it is not there", "in a container, hand it in: --device /dev/kmsg")
		case err != nil:
			if m.uid != 0 {
				f.RootAdds = "the kernel's log"
			}
			return miss("the kernel's log is for root or CAP_SYSLOG only", install)
		}
		unix.Close(fd)
	case "PSI":
		if _, err := os.Stat("/proc/pressure/cpu"); err != nil {
			return miss("there is no /proc/pressure", "boot with psi=1")
		}
	default:
		f.Status, f.Detail, f.How = partly, "chaos cannot look for it here", install
	}
	return f
}
