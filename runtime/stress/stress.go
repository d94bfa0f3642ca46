// Package stress uses up what a machine has: processor time, memory, space on a disk. Each stressor is a process of its own,
// the same binary under `chaos stress`, owned by the helper `chaos hold`: when the run dies, so does the stressor, and the
// kernel takes back all that it held.
package stress

import (
	"encoding/json"
	"fmt"
	"os"

	"chaos/lang/value"
)

// Command is the hidden command under which a stressor runs.
const Command = "stress"

// inStress is in the environment of a stressor, so that nobody becomes one by a typing error.
const inStress = "CHAOS_STRESS"

// exitMute is the exit code of a stressor that cannot say anything, as on a full disk.
const exitMute = 3

// job is what one stressor does. It returns when it cannot go on; else it is killed.
type job interface{ run(say func(string)) error }

func jobs(kind string) job {
	switch kind {
	case "cpu":
		return &CPU{}
	case "memory":
		return &Memory{}
	case "disk":
		return &Disk{}
	case "io":
		return &IO{}
	case "fork":
		return &Fork{}
	case "files":
		return &Files{}
	}
	return nil
}

// MaybeServe serves and exits if the program was started as a stressor. Every test package whose tests start stressors calls
// it in its TestMain, after hold.MaybeServe, since there the program is the test's.
func MaybeServe() {
	if len(os.Args) == 4 && os.Args[1] == Command && os.Getenv(inStress) != "" {
		os.Exit(Serve(os.Args[2], os.Args[3]))
	}
}

// Serve is the stressor: what `chaos stress KIND PARAMETERS` runs. It returns the exit code.
func Serve(kind, parameters string) int {
	j := jobs(kind)
	if j == nil || json.Unmarshal([]byte(parameters), j) != nil {
		fmt.Fprintln(os.Stderr, "chaos stress is what a run starts to use up the machine; it is of no use by hand")
		return 2
	}
	os.Unsetenv(inStress)
	// Else `ps` and `top` would show "exe", the link that it was started by.
	os.WriteFile("/proc/self/comm", []byte("chaos-stress"), 0)
	// Whatever happens to the machine's memory, the stressor goes first; see oom_score_adj in proc_pid_oom_score_adj(5).
	// Raising it needs no privilege.
	os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	say := func(line string) {
		if _, err := fmt.Println(line); err != nil { // then nobody would ever know that all is taken
			os.Exit(exitMute)
		}
	}
	if err := j.run(say); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// sizeText prints bytes for people.
func sizeText(n int64) string { return value.SizeOf(float64(n)).Short() }
