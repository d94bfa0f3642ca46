package command

import (
	"path/filepath"
	"slices"
	"time"

	"chaos/runtime/target"

	"golang.org/x/sys/unix"
)

// litterVar is in the environment of what probes run, and of what that starts. Its value is the folder of the run.
const litterVar = "CHAOS_PROBE"

// litterPatience is how long a process may take to its end after SIGKILL.
const litterPatience = 2 * time.Second

// litter is the mark of a run.
func litter(runDir string) string {
	if dir, err := filepath.Abs(runDir); err == nil {
		runDir = dir
	}
	return litterVar + "=" + runDir
}

// EndLitter ends what the commands of a run's probes have left: in other sessions, where no sweep of a process group finds it,
// or because the runner was killed while they ran. It is for the end of a run.
func EndLitter(runDir string) {
	mark := litter(runDir)
	for end := time.Now().Add(litterPatience); time.Now().Before(end); <-time.After(5 * time.Millisecond) {
		all, err := target.Processes()
		if err != nil {
			return
		}
		all = slices.DeleteFunc(all, func(p target.Process) bool {
			env, err := p.Environ()
			return err != nil || p.Zombie() || !slices.Contains(env, mark)
		})
		if len(all) == 0 {
			return
		}
		for _, p := range all {
			_ = p.Identity().Signal(unix.SIGKILL) // gone is what is wanted, and the next look tells
		}
	}
}
