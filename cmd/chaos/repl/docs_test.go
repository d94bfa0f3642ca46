package repl

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The page about the prompt lists the commands that there are, in their words.
func TestThePageListsTheCommands(t *testing.T) {
	page, err := os.ReadFile("../../../docs/repl.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		usage := strings.TrimSpace(":" + c.name + " " + c.args)
		row := fmt.Sprintf("| `%s` | %s |\n", strings.ReplaceAll(usage, "|", `\|`), c.help)
		if c.help != "" && !strings.Contains(string(page), row) {
			t.Errorf("docs/repl.md has no %s", row)
		}
	}
	if n := strings.Count(string(page), "\n| `:"); n != len(commands)-1 { // `:save!` stands with `:save`
		t.Errorf("docs/repl.md has %d commands, there are %d", n, len(commands)-1)
	}
}
