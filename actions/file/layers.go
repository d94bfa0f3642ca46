package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"chaos/runtime/filefail"
)

// Puts on one file may lie on top of each other. Undone newest first each finds what it wrote. But in `parallel` the lower
// one may end first: the file then holds what the upper one wrote, and the upper one would later bring back the content of
// the lower, which nobody would ever take away. So a lower put that ends early hands down what it would have restored: it
// is written beside the backup of the put above it, where whoever undoes that one, in whatever process, finds it.

// standing are the puts of this process that are not undone, per file, oldest first.
var standing = layers{byPath: map[string][]*layer{}}

type layers struct {
	mu     sync.Mutex
	byPath map[string][]*layer
}

type layer struct {
	written
	backup   string
	restores string // hash of what its undo brings back
	dropped  bool   // it ended below another one
}

func (l *layers) push(rec written, was prior) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byPath[rec.Path] = append(l.byPath[rec.Path], &layer{written: rec, backup: was.Backup, restores: was.Hash})
}

// find is the index of a put, by the name of its temporary file, which is unique; -1 in another process.
func (l *layers) find(rec written) int {
	for i, one := range l.byPath[rec.Path] {
		if one.Temp == rec.Temp {
			return i
		}
	}
	return -1
}

func (l *layers) isDropped(rec written) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(rec)
	return i >= 0 && l.byPath[rec.Path][i].dropped
}

// remove forgets a put that is undone. Dropped ones stay: they are asked again whether they are gone.
func (l *layers) remove(rec written) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(rec)
	if i < 0 || l.byPath[rec.Path][i].dropped {
		return
	}
	list := l.byPath[rec.Path]
	l.byPath[rec.Path] = append(list[:i:i], list[i+1:]...)
}

// drop ends a put whose content is not in place. Where another put of ours lies right on top of it, that one gets what
// this one would have restored; otherwise the content is a stranger's and nothing is done.
func (l *layers) drop(rec written, was prior) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := l.find(rec)
	if i < 0 {
		return nil
	}
	list := l.byPath[rec.Path]
	for _, above := range list[i+1:] {
		if above.dropped {
			continue
		}
		if above.restores != rec.Wrote {
			break
		}
		if err := handDown(above.backup, was); err != nil {
			return fmt.Errorf("%s lies below another file.put, which cannot be told: %s", rec.Path, filefail.Why(err))
		}
		above.restores, list[i].dropped = was.Hash, true
		return nil
	}
	l.byPath[rec.Path] = append(list[:i:i], list[i+1:]...)
	return nil
}

func insteadOf(backup string) string { return backup + ".instead" }

func handDown(backup string, was prior) error {
	data, err := json.Marshal(was)
	if err != nil {
		return err
	}
	temp := insteadOf(backup) + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(temp, insteadOf(backup)); err != nil {
		return err
	}
	return syncDir(filepath.Dir(backup))
}

// replaced is what a put has to restore: its own prior state, unless a lower put handed its own down.
func replaced(was prior) (prior, error) {
	if was.Backup == "" {
		return was, nil
	}
	data, err := os.ReadFile(insteadOf(was.Backup))
	if errors.Is(err, fs.ErrNotExist) {
		return was, nil
	}
	if err != nil {
		return was, fmt.Errorf("%s cannot be read: %s", insteadOf(was.Backup), filefail.Why(err))
	}
	var out prior
	if err := json.Unmarshal(data, &out); err != nil {
		return was, fmt.Errorf("%s cannot be read: it is damaged", insteadOf(was.Backup))
	}
	return out, nil
}
