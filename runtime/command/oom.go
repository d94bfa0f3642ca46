package command

import (
	"os"
	"strings"
)

// oomBefore is in the environment of a process that is spared: what it was before, for the commands that it runs.
const oomBefore = "CHAOS_OOM_SCORE_ADJ"

// oomSpared is the oom_score_adj of a process that has to outlive a machine without memory; -1000 would be immune, and leave
// the kernel nothing to kill should we be what takes it all. See proc_pid_oom_score_adj(5).
const oomSpared = "-900"

// SpareUs asks the kernel to kill others first when memory runs out. It is refused without CAP_SYS_RESOURCE, and then all
// stays as it is. A process inherits the value, so each command that we run gets back what we had: a server that an undo
// starts again must not be spared for ever.
func SpareUs() {
	was, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil || os.WriteFile("/proc/self/oom_score_adj", []byte(oomSpared), 0) != nil {
		return
	}
	os.Setenv(oomBefore, strings.TrimSpace(string(was)))
}
