package target

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// unitName is the whole name of a unit: systemctl takes `nginx` for nginx.service as well. See systemd.unit(5).
func unitName(name string) (string, error) {
	if name == "" || strings.ContainsAny(name, "/ \n") {
		return "", fmt.Errorf("`unit: %q` is no name of a systemd unit; write one such as nginx.service", name)
	}
	for _, kind := range []string{".service", ".scope", ".slice", ".socket", ".mount", ".swap"} {
		if strings.HasSuffix(name, kind) {
			return name, nil
		}
	}
	return name + ".service", nil
}

// inUnit finds the main process of a unit. systemd keeps the processes of each in a cgroup of its name, so nobody need be
// asked; the main one is that whose parent is not of the unit.
func inUnit(name string) ([]Process, error) {
	name, err := unitName(name)
	if err != nil {
		return nil, err
	}
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	members := map[int]bool{}
	for _, p := range all {
		if !p.Kernel && !p.Zombie() && slices.Contains(units(p.Pid), name) {
			members[p.Pid] = true
		}
	}
	if _, err := os.Stat("/run/systemd/system"); len(members) == 0 && err != nil { // as sd_booted(3) finds out
		return nil, errors.New("`unit:` selects what systemd has started, and systemd does not run here; use `match:`, `port:` or `pid:`")
	}
	return slices.DeleteFunc(all, func(p Process) bool { return !members[p.Pid] || members[p.PPid] }), nil
}

// units lists the names in the path of a process' cgroup, of version 2 or of systemd's own hierarchy; see cgroups(7).
func units(pid int) []string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		col := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(col) == 3 && (col[1] == "" || col[1] == "name=systemd") {
			out = append(out, strings.Split(col[2], "/")...)
		}
	}
	return out
}
