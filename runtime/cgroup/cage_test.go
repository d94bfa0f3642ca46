package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaos/runtime/needtest"
	"chaos/runtime/target"
)

// A pid of another namespace may be alive there, whoever has its number here.
func TestOnlyTheCagesOfThisPidNamespaceAreDead(t *testing.T) {
	self, err := target.ProcessIdentity(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	alive, err := NewCage(self)
	if err != nil {
		needtest.Lacks(t, err)
	}
	defer alive.Remove()
	gone := self
	gone.Start++
	dead, err := NewCage(gone)
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Remove()
	space, _ := os.Readlink("/proc/self/ns/pid")
	foreign := Cage{Dir: strings.TrimSuffix(dead.Dir, strings.Trim(space, "pid:[]")) + "1"}
	if err := os.Mkdir(foreign.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer foreign.Remove()
	found := DeadCages()
	if !slices.Contains(found, dead) || slices.Contains(found, alive) || slices.Contains(found, foreign) {
		t.Errorf("%v; want %s", found, filepath.Base(dead.Dir))
	}
}
