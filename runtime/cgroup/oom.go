package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// oomFile is the file of a cgroup that has `oom_kill`, the count of its processes that the OOM killer ended.
func (h Hierarchy) oomFile() string {
	if h.Version == 1 {
		return "memory.oom_control"
	}
	return "memory.events"
}

// OOMKills reads the count from such a file; false where there is none.
func OOMKills(file string) (int, bool) {
	w := words(file)
	i := slices.Index(w, "oom_kill")
	if i < 0 || i+1 >= len(w) {
		return 0, false
	}
	n, err := strconv.Atoi(w[i+1])
	return n, err == nil
}

// OOMFile is the file that counts for the cgroup whose memory a process uses: its own, or with version 2 the nearest one
// above it that has the controller.
func (l Layout) OOMFile(pid int) (string, bool) {
	i := slices.IndexFunc(l.hierarchies, func(h Hierarchy) bool { return h.Version == 1 && slices.Contains(h.Controllers, Memory) })
	h, ok := l.unified()
	if i >= 0 {
		h, ok = l.hierarchies[i], true
	}
	if !ok {
		return "", false
	}
	path, err := h.Of(pid, 0)
	if err != nil {
		return "", false
	}
	dirs, err := h.lineage(path)
	if err != nil {
		return "", false
	}
	for _, dir := range dirs {
		file := filepath.Join(dir, h.oomFile())
		if _, err := os.Stat(file); err == nil {
			return file, true
		}
	}
	return "", false
}
