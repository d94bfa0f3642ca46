// Package stdlib holds the modules that come with the language, written in the language itself: `use "std/web"`.
package stdlib

import (
	"embed"
	"io/fs"
)

//go:embed *.chaos
var files embed.FS

// FS holds each module as NAME.chaos.
func FS() fs.FS { return files }
