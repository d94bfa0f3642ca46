package runtime

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Two runs of one second that draw the same number do not share a folder.
func TestARunTakesNoFolderOfAnother(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 11, 22, 17, 51, 35, 0, time.UTC)
	draws := bytes.NewReader([]byte{0xd9, 0xcb, 0xd9, 0xcb, 0xd9, 0xcb, 0x00, 0x01})
	for _, want := range []string{"20261122-175135-d9cb", "20261122-175135-0001"} {
		id := freeID(dir, now, draws)
		if id != want {
			t.Errorf("%s, want %s", id, want)
		}
		if err := os.Mkdir(filepath.Join(dir, id), 0o700); err != nil {
			t.Error(err)
		}
	}
}
