package event

import (
	"fmt"
	"os"
	"path/filepath"
)

// JournalName is the journal's file in a run's folder.
const JournalName = "journal.jsonl"

// Journal is the append-only file of a run: one JSON object a line, 0600 in a folder of 0700. A torn last line is what a
// crash leaves, and readers tolerate it.
type Journal struct {
	f    *os.File
	line []byte // room for the next line
}

// CreateJournal makes dir and the journal in it, on disk, so that the first record finds its file after a crash.
func CreateJournal(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, JournalName), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := SyncDir(d); err != nil {
			f.Close()
			return nil, err
		}
	}
	return &Journal{f: f}, nil
}

// ReopenJournal opens the journal of a run that died, to append. A torn last line is ended first, so that it spoils no
// other.
func ReopenJournal(dir string) (*Journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, JournalName), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() > 0 {
		var last [1]byte
		if _, err = f.ReadAt(last[:], info.Size()-1); err == nil && last[0] != '\n' {
			_, err = f.Write([]byte("\n"))
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Journal{f: f}, nil
}

// SyncDir makes the names in a folder durable; see fsync(2).
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Append writes one line with one write(2), so that lines of a crash are whole or the last one.
func (j *Journal) Append(e Event) error {
	line, err := e.appendJSON(j.line[:0])
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.line = append(line, '\n')
	n, err := j.f.Write(j.line)
	if err != nil && n > 0 { // a full disk: half a line would spoil the next one
		if info, serr := j.f.Stat(); serr == nil {
			j.f.Truncate(info.Size() - int64(n))
		}
	}
	return err
}

// Sync waits until everything appended is on disk, and looks whether anybody would find it there.
func (j *Journal) Sync() error {
	if err := j.f.Sync(); err != nil {
		return err
	}
	ours, err := j.f.Stat()
	if err != nil {
		return err
	}
	if now, err := os.Stat(j.f.Name()); err != nil || !os.SameFile(ours, now) {
		return fmt.Errorf("%s was deleted or moved while the run went on", j.f.Name())
	}
	return nil
}

// Close closes the file after a last sync.
func (j *Journal) Close() error {
	err := j.f.Sync()
	if e := j.f.Close(); err == nil {
		err = e
	}
	return err
}
