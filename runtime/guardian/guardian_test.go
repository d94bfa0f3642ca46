package guardian

import (
	"strings"
	"testing"
	"time"
)

// A guardian that cannot start says why, as on a machine that starts no more threads.
func TestAGuardianThatEndsAtOnceIsQuoted(t *testing.T) {
	_, err := Start([]string{"sh", "-c", "echo 'no more threads' >&2; echo 'goroutine 1' >&2"}, t.TempDir(), t.TempDir(), time.Now())
	if err == nil || !strings.HasSuffix(err.Error(), "it has ended, and said: no more threads") {
		t.Error(err)
	}
}
