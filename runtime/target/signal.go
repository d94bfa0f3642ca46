package target

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Signal reads the name of a signal, with or without SIG: "TERM", "SIGTERM".
func Signal(name string) (unix.Signal, error) {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	if sig == 0 {
		return 0, fmt.Errorf("there is no signal `%s`; the usual ones are TERM, KILL, INT, HUP, USR1", name)
	}
	return sig, nil
}

// SignalName is the name of a signal without SIG: "TERM".
func SignalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return fmt.Sprintf("%d", int(sig))
}
