package target

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// listening is TCP_LISTEN of include/net/tcp_states.h, as /proc/net/tcp prints it.
const listening = "0A"

// Listeners finds who listens on a TCP port of this network namespace. Several processes may hold one socket (a master and
// the workers that it forked): those whose ancestor holds it too are left out, so that one server is one process. hidden
// tells that the port is listened on by a process whose descriptors this user may not see.
func Listeners(port int) (found []Process, hidden bool, err error) {
	inodes, err := listeningInodes(port)
	if err != nil || len(inodes) == 0 {
		return nil, false, err
	}
	all, err := Processes()
	if err != nil {
		return nil, false, err
	}
	parent := make(map[int]int, len(all))
	holds := map[int]bool{}
	seen := map[string]bool{}
	for _, p := range all {
		parent[p.Pid] = p.PPid
		for _, inode := range socketsOf(p.Pid) {
			if inodes[inode] {
				holds[p.Pid], seen[inode] = true, true
			}
		}
	}
	for _, p := range all {
		if !holds[p.Pid] {
			continue
		}
		inherited := false
		for a, depth := parent[p.Pid], 0; a > 0 && depth < len(all); a, depth = parent[a], depth+1 {
			inherited = inherited || holds[a]
		}
		if !inherited {
			found = append(found, p)
		}
	}
	return found, len(seen) < len(inodes), nil
}

// listeningInodes reads the sockets that listen on a port, over IPv4 and IPv6; see proc_pid_net(5).
func listeningInodes(port int) (map[string]bool, error) {
	inodes := map[string]bool{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if os.IsNotExist(err) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, fmt.Errorf("who listens on port %d: %w", port, err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
			col := strings.Fields(lines.Text())
			if len(col) < 10 || col[3] != listening {
				continue
			}
			_, hex, _ := strings.Cut(col[1], ":")
			if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port {
				inodes[col[9]] = true
			}
		}
		err = lines.Err()
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("who listens on port %d: %w", port, err)
		}
	}
	return inodes, nil
}

// socketsOf lists the inodes of a process' sockets, none where it may not be looked into.
func socketsOf(pid int) []string {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	var out []string
	for _, name := range names {
		link, err := os.Readlink(dir + name)
		if err != nil {
			continue
		}
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			out = append(out, strings.TrimSuffix(inode, "]"))
		}
	}
	return out
}
