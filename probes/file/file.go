// Package file watches files: whether they are there, how old they are, and what they hold.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"chaos/lang/spec"
	"chaos/lang/value"
	"chaos/probes"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/filefail"

	"golang.org/x/sys/unix"
)

// All lists the probes of this family.
func All() []probes.Probe { return []probes.Probe{stat(), text()} }

type statArgs struct {
	Path string `chaos:"path,required,positional,filled" help:"a file or a folder; a relative path starts at the script's folder, symbolic links are followed"`
}

// Stat is what stands at a path.
type Stat struct {
	Exists bool           `chaos:"exists" help:"there is something; false for a symbolic link that leads nowhere"`
	Size   *value.SizeV   `chaos:"size" help:"the length of the content; absent unless it is a plain file"`
	Age    *time.Duration `chaos:"age" help:"how long ago it was last written, by its time stamp; of a folder, how long ago a name in it came or went; absent where nothing is"`
}

func stat() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "file.stat",
		Summary: "Tells whether a file is there, its size and its age; that nothing is there is a sample too.",
		Example: `probe backup = file.stat("/var/backups/db.gz") every 10s`,
	}, func(_ context.Context, e env.Env, in statArgs) (probes.Take[Stat], error) {
		path, err := resolve(e.Dir, in.Path)
		if err != nil {
			return nil, err
		}
		return func(context.Context) (Stat, error) { return takeStat(path) }, nil
	})
}

func takeStat(path string) (Stat, error) {
	info, err := os.Stat(path)
	if filefail.IsAbsent(err) {
		return Stat{}, nil
	}
	if err != nil {
		return Stat{}, fmt.Errorf("%s cannot be looked at: %s", path, filefail.Why(err))
	}
	age := max(0, time.Since(info.ModTime())) // a time stamp may lie in the future
	out := Stat{Exists: true, Age: &age}
	if info.Mode().IsRegular() {
		size := value.SizeV(info.Size())
		out.Size = &size
	}
	return out, nil
}

type textArgs struct {
	Path string      `chaos:"path,required,positional,filled" help:"a plain file; a relative path starts at the script's folder, symbolic links are followed"`
	Most value.SizeV `chaos:"most" default:"64KiB" range:">=1B <=1MiB" help:"how much of its beginning to read; at most 1MiB, as every sample is kept"`
}

// Text is what a file holds.
type Text struct {
	Text string `chaos:"text" help:"its content, cut after most; what is no UTF-8 is replaced"`
}

func text() probes.Probe {
	return probes.Define(spec.Call{
		Name:    "file.text",
		Summary: "Reads a text file; where there is none the probe has failed, and file.stat is the one to ask.",
		Example: `probe role = file.text("/run/db/role", most: 1KiB) every 1s`,
	}, func(_ context.Context, e env.Env, in textArgs) (probes.Take[Text], error) {
		path, err := resolve(e.Dir, in.Path)
		if err != nil {
			return nil, err
		}
		return func(context.Context) (Text, error) { return takeText(path, int64(in.Most)) }, nil
	})
}

func takeText(path string, most int64) (Text, error) {
	// Without blocking: opening a pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		if filefail.IsAbsent(err) {
			return Text{}, fmt.Errorf("there is no file %s", path)
		}
		return Text{}, fmt.Errorf("%s cannot be read: %s", path, filefail.Why(err))
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return Text{}, fmt.Errorf("%s is no plain file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return Text{}, fmt.Errorf("%s cannot be read: %s", path, filefail.Why(err))
	}
	return Text{Text: strings.ToValidUTF8(string(data), "\uFFFD")}, nil
}

func resolve(dir, path string) (string, error) {
	switch {
	case strings.Contains(path, "\x00"):
		return "", errors.New("`path` holds a zero byte")
	case strings.HasPrefix(path, "~/"):
		return "", fmt.Errorf("`path`: %s begins with a tilde, which only shells know; write the whole path", value.Quote(path))
	}
	return command.Resolve(dir, path), nil
}
