package stress

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Files keeps many files open.
type Files struct {
	Count int `json:"count"`
	Keep  int `json:"keep"` // how many more can be opened in any case; below, it ends by itself
}

// spare is how many descriptors of a process are left for itself.
const spare = 64

// OpenFiles tells how many files are open on the whole machine, and how many can be; see file-nr in proc_sys_fs(5).
func OpenFiles() (open, most int, err error) {
	data, err := os.ReadFile("/proc/sys/fs/file-nr")
	if err != nil {
		return 0, 0, err
	}
	col := strings.Fields(string(data))
	if len(col) != 3 {
		return 0, 0, errors.New("/proc/sys/fs/file-nr cannot be read")
	}
	if open, err = strconv.Atoi(col[0]); err == nil {
		most, err = strconv.Atoi(col[2])
	}
	return open, most, err
}

func (f *Files) run(say func(string)) error {
	if f.Count < 1 {
		return errors.New("the stressor got an order that makes no sense")
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	own := min(f.Count, int(limit.Max)-spare)
	if own < 1 {
		return fmt.Errorf("a process may have %d open files here, which is too few", limit.Max)
	}
	for n := range own {
		// Each open makes one more; a copy of a descriptor would not count.
		if _, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return fmt.Errorf("no more than %d files can be opened: %w", n, err)
		}
	}
	rest, err := f.others(f.Count - own)
	if err != nil {
		return err
	}
	say(fmt.Sprintf("%s %d", saidFull, f.Count))
	for range time.Tick(watch) {
		select {
		case err := <-rest:
			return err
		default:
		}
		if open, most, err := OpenFiles(); err == nil && most-open < f.Keep {
			return fmt.Errorf("it ended by itself: no more than %d files can be opened, and the floor is %d", most-open, f.Keep)
		}
	}
	return nil
}

// others starts another stressor for what one process may not have; it goes on in the same way, and ends with this thread.
func (f *Files) others(count int) (<-chan error, error) {
	if count <= 0 {
		return nil, nil
	}
	runtime.LockOSThread()
	parameters, err := json.Marshal(Files{Count: count, Keep: f.Keep})
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("/proc/self/exe", Command, "files", string(parameters))
	cmd.Args[0] = "chaos"
	cmd.Env = append(os.Environ(), inStress+"=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := out.Read(make([]byte, 64)); err != nil { // it says that it has all of them
		return nil, errors.Join(errors.New("another process for the rest of the files has ended"), cmd.Wait())
	}
	ended := make(chan error, 1)
	go func() {
		ended <- errors.Join(errors.New("the process with the rest of the files has ended"), cmd.Wait())
	}()
	return ended, nil
}
